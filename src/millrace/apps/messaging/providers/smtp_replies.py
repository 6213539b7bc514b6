"""What the reply of a mail server means for the message: RFC 5321 and the enhanced status codes of RFC 3463.

A 5xx before the recipient was named (greeting, TLS, AUTH, MAIL FROM) is about us, not about the message: a wrong
password must not bury a thousand messages.
"""

import re
from typing import Literal

from millrace.apps.messaging.jobs import Letter
from millrace.apps.messaging.providers.scrub import without_recipient
from millrace.apps.messaging.providers.verdicts import Verdict

Step = Literal["connection", "greeting", "tls", "auth", "sender", "recipient", "data"]

ABOUT_THE_MESSAGE = ("recipient", "data")
ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b[\s-]*")

# What a basic code says by itself, where its first digit would say something else.
CODES = {
    421: Verdict(kind="trouble", words="the server closes"),
    454: Verdict(kind="trouble", words="TLS or authentication is not available now"),
    500: Verdict(kind="trouble", words="it does not know our command"),
    501: Verdict(kind="refused", words="it cannot read the address"),
    502: Verdict(kind="trouble", words="it does not have our command"),
    503: Verdict(kind="trouble", words="it expected another command"),
    504: Verdict(kind="trouble", words="it does not have our command's parameter"),
    521: Verdict(kind="trouble", words="the host takes no mail at all"),
    530: Verdict(kind="trouble", words="it wants authentication or TLS first"),
    534: Verdict(kind="trouble", words="it wants a stronger way to authenticate"),
    535: Verdict(kind="trouble", words="user and password are wrong"),
    538: Verdict(kind="trouble", words="it wants TLS first"),
}

# What an enhanced status says, without its class: more exact than the code, so it comes first.
STATUSES = {
    "2.3": Verdict(kind="refused", words="the message is too long for the mailbox"),
    "3.1": Verdict(kind="trouble", words="the mail system is full"),
    "3.2": Verdict(kind="trouble", words="the system takes no mail now"),
    "3.4": Verdict(kind="refused", words="the message is too big for the system"),
    "3.5": Verdict(kind="trouble", words="the system is set up wrongly"),
    "7.8": Verdict(kind="trouble", words="user and password are wrong"),
}


def read_reply(step: Step, code: int, text: str) -> Verdict:
    """Say what a reply means that was not the one we hoped for."""
    if step not in ABOUT_THE_MESSAGE:
        return Verdict(kind="trouble", words=f"refused at the {step}")
    if not 400 <= code <= 599:
        return Verdict(kind="trouble", words="no reply that SMTP has here")
    status = _status(text)
    told = STATUSES.get(status[2:]) if status.startswith(str(code // 100)) else None
    told = told or CODES.get(code)
    if code < 500 and (told is None or told.kind == "refused"):  # the first digit is what counts for a 4xx
        return Verdict(kind="retry")
    return told or Verdict(kind="refused")


def reason_of(step: Step, code: int, text: str, letter: Letter) -> str:
    """Name code and status, then what the server said: `smtp 550 5.1.1: no such user`."""
    status = _status(text)
    said = without_recipient(ENHANCED.sub("", text), letter)
    place = "" if step in ABOUT_THE_MESSAGE else f" ({step})"
    return f"smtp {code}{f' {status}' if status else ''}{place}{f': {said}' if said else ''}"


def _status(text: str) -> str:
    found = ENHANCED.match(text)
    return found[1] if found else ""
