"""What other servers say, fit to be kept: their answers like to quote the recipient."""

import re

from millrace.apps.messaging.jobs import Letter

TEXT_CHARACTERS = 200
READ_CHARACTERS = 600  # of what is said; the patterns below go over it more than once

ADDRESS = re.compile(r"[^\s<>()\[\]\"',:;]+(?:@|%40|=40)[^\s<>()\[\]\"',:;]+")
NUMBER = re.compile(r"\+?\d(?:[\s().-]{0,2}\d){6,}")
SHORTEST_NAME = 3


def without_addresses(text: str, name: str = "") -> str:
    """Give one printable line of at most 200 characters, without e-mail addresses, phone numbers and that name."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if len(line) > READ_CHARACTERS:  # not in the middle of an address, whose first half nobody would recognise
        line = line[:READ_CHARACTERS].rpartition(" ")[0]
    line = NUMBER.sub("(number)", ADDRESS.sub("(address)", line))
    if len(name) >= SHORTEST_NAME and name.casefold() in line.casefold():  # else no pattern has to be made for it
        line = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "(address)", line, flags=re.IGNORECASE)
    return line if len(line) <= TEXT_CHARACTERS else line[: TEXT_CHARACTERS - 1] + "…"


def without_recipient(text: str, letter: Letter) -> str:
    """Leave out the letter's own recipient too where it stands without its host: `<ada>: unknown user`."""
    return without_addresses(text, letter.recipient.partition("@")[0])
