"""What other servers say, fit to be kept: their answers like to quote the recipient."""

import re

from millrace.apps.messaging.jobs import EmailJob, Letter
from millrace.privacy import scrubbed

TEXT_CHARACTERS = 200
READ_CHARACTERS = 600  # of what is said; the patterns below go over it more than once

ADDRESS = re.compile(r"[^\s<>()\[\]\"',:;]+(?:@|%40|=40)[^\s<>()\[\]\"',:;]+")
NUMBER = re.compile(r"\+?\d(?:[\s().-]{0,2}\d){6,}")
SHORTEST_NAME, SHORTEST_SUBJECT = 3, 8  # shorter ones are words that any sentence has


def without_addresses(text: str, name: str = "", subject: str = "") -> str:
    """Give one printable line of at most 200 characters, without addresses, phone numbers, keys, that name and subject."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if len(line) > READ_CHARACTERS:  # not in the middle of an address, whose first half nobody would recognise
        line = line[:READ_CHARACTERS].rpartition(" ")[0]
    if len(subject) >= SHORTEST_SUBJECT:
        line = _without(line, subject, "(subject)")
    line = scrubbed(NUMBER.sub("(number)", ADDRESS.sub("(address)", line)))
    if len(name) >= SHORTEST_NAME:
        line = _without(line, name, "(address)")
    return line if len(line) <= TEXT_CHARACTERS else line[: TEXT_CHARACTERS - 1] + "…"


def without_recipient(text: str, letter: Letter) -> str:
    """Leave out the letter's subject too, and its recipient where it stands without its host: `<ada>: unknown user`."""
    subject = " ".join(letter.subject.split()) if isinstance(letter, EmailJob) else ""
    return without_addresses(text, letter.recipient.partition("@")[0], subject)


def _without(line: str, words: str, instead: str) -> str:
    if words.casefold() not in line.casefold():  # then no pattern has to be made for it
        return line
    return re.sub(rf"(?<!\w){re.escape(words)}(?!\w)", instead, line, flags=re.IGNORECASE)
