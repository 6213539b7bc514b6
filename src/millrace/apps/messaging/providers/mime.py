"""An e-mail job as an e-mail, in bytes. Nothing of the job can end a header or begin another one."""

from datetime import UTC, datetime
from email.charset import BASE64, QP, Charset
from email.header import Header
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime, formataddr, parseaddr
from functools import lru_cache

from millrace.apps.messaging.fields import CONTROL, check_address
from millrace.apps.messaging.jobs import EmailJob
from millrace.apps.messaging.providers.names import digest_of
from millrace.errors import ConfigurationError

WIRE = compat32.clone(linesep="\r\n")
PLAIN_CHARACTERS = 900  # a line of a header ends after 998, and a word is never cut


def write_email(account_id: str, email: EmailJob, mail_from: str, now_ms: int) -> bytes:
    """Write the e-mail as it goes over the wire, lines ended by CR LF.

    Its Message-ID is the same at each attempt, so that receivers recognise a double.
    """
    message = MIMEText(email.content, "plain", _charset(email.content))  # type: ignore[arg-type] # a Charset will do
    message["From"] = formataddr(_read_sender(mail_from))
    message["To"] = email.recipient
    message["Subject"] = _subject(email.subject)  # type: ignore[assignment] # this policy takes a Header
    message["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    message["Message-ID"] = message_id_of(account_id, email, mail_from)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps holiday notices from answering
    return message.as_bytes(policy=WIRE)


def message_id_of(account_id: str, email: EmailJob, mail_from: str) -> str:
    """Give the Message-ID, which shows neither account nor id."""
    return f"<{digest_of(account_id, email)}@{sender_of(mail_from).rpartition('@')[2]}>"


def sender_of(mail_from: str) -> str:
    """Give the address of a sender that may have a name before it: `Millrace <queue@example.com>`.

    Raises:
        ConfigurationError: there is no address that can be used.
    """
    return _read_sender(mail_from)[1]


@lru_cache(maxsize=16)  # each mail asks four times
def _read_sender(mail_from: str) -> tuple[str, str]:
    name, address = parseaddr(mail_from)
    try:
        check_address("the sender", address)
    except ValueError:
        address = ""
    if not address or CONTROL.search(mail_from):
        raise ConfigurationError(
            f"the sender of e-mails is {mail_from[:80]!r} (SMTP_FROM); expected an address such as queue@example.com"
        )
    return name, address


def _charset(content: str) -> Charset:
    charset = Charset("utf-8")
    charset.body_encoding = QP if content.isascii() else BASE64  # lines of any length, and no dot that ends the message
    return charset


def _subject(text: str) -> Header:
    """Encode what is not plain; `=?` too, which a reader would decode again, line breaks and all."""
    is_plain = text.isascii() and "=?" not in text and len(text) <= PLAIN_CHARACTERS
    return Header(text, "us-ascii" if is_plain else "utf-8", header_name="Subject")
