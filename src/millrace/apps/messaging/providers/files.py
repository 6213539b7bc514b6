"""Messages as files, for work without a mail server: nothing is sent, and nothing claims to be."""

import asyncio
import os
from pathlib import Path

from millrace.apps.messaging.jobs import EmailJob, Letter
from millrace.apps.messaging.providers.contract import Failed, Handed
from millrace.apps.messaging.providers.mime import write_email
from millrace.apps.messaging.providers.names import digest_of
from millrace.clock import Clock
from millrace.ids import new_id

PROVIDER = "file"


class FileProvider:
    """Writes each message into a file of `folder`: `.eml` with the whole e-mail, `.txt` with a text message.

    The same message has the same file at each attempt. `name` is what the provider is called where providers are
    watched; messages come back as handed to `file`.
    """

    def __init__(self, folder: Path, mail_from: str, clock: Clock, name: str = PROVIDER) -> None:
        self.name = name
        self._folder, self._mail_from, self._clock = folder, mail_from, clock

    async def send(self, account_id: str, letter: Letter) -> Handed:
        """Write the file and see that the disk has it; see `Provider`."""
        path = self._folder / f"{digest_of(account_id, letter)}{_ending(letter)}"
        try:
            await asyncio.to_thread(_write, path, self._content(account_id, letter))
        except OSError as error:
            raise Failed(PROVIDER, f"file: {error.strerror or 'it cannot be written'}", is_trouble=True) from None
        return Handed(provider=PROVIDER, status="stored", provider_id=path.name, note="written to a file, not sent")

    async def aclose(self) -> None:
        """Do nothing: no file stays open."""

    def _content(self, account_id: str, letter: Letter) -> bytes:
        if isinstance(letter, EmailJob):
            return write_email(account_id, letter, self._mail_from, self._clock())
        return f"To: {letter.recipient}\n\n{letter.content}\n".encode()


def _ending(letter: Letter) -> str:
    return ".eml" if isinstance(letter, EmailJob) else ".txt"


def _write(path: Path, content: bytes) -> None:
    """Write beside the file and rename, so that a reader meets either all of a message or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arriving = path.with_name(f".{new_id()}")
    try:
        with arriving.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        arriving.replace(path)
    finally:
        arriving.unlink(missing_ok=True)
