"""Jobs at rest: sealed under the master key when there is one, so that the database and its copies tell no content."""

import hashlib
from base64 import b64decode, b64encode
from typing import Any, NamedTuple

import msgspec

from millrace.access.cipher import NONCE_BYTES, Cipher, Sealed
from millrace.apps.messaging.jobs import CleanupJob, ExportJob, Job, id_of, read_job, type_of
from millrace.apps.messaging.rows import Row
from millrace.errors import ConfigurationError

KEY_ID_CHARACTERS = 16


class Kept(NamedTuple):
    """The bytes that are stored of a job, and the master key that sealed them, if any."""

    body: bytes
    key_id: str | None


class Seals:
    """Seals jobs and opens them; without a cipher they are kept as they are."""

    def __init__(self, cipher: Cipher | None) -> None:
        self._cipher = cipher

    def keep(self, account_id: str, id: str, job: Job) -> Kept:
        """Give what is stored of a job."""
        text = encode(job)
        if self._cipher is None or isinstance(job, CleanupJob):  # which holds nothing of anybody's
            return Kept(text, None)
        sealed = self._cipher.seal(account_id, _name(id), text.decode())
        return Kept(sealed.nonce + sealed.ciphertext, sealed.key_id)

    def open(self, account_id: str, id: str, kept: Kept) -> Job:
        """Give the job again.

        Raises:
            ConfigurationError: it was sealed with another master key, or changed.
        """
        if kept.key_id is None:
            return read_job(msgspec.json.decode(kept.body))
        if self._cipher is None:
            raise ConfigurationError(f"job {id!r} is sealed, and this server has no master key; set MASTER_KEY")
        sealed = Sealed(kept.body[:NONCE_BYTES], kept.body[NONCE_BYTES:], kept.key_id)
        try:
            text = self._cipher.open(account_id, _name(id), sealed)
        except ConfigurationError:
            raise ConfigurationError(
                f"job {id!r} was sealed with another master key than this server's, or was changed"
            ) from None
        return read_job(msgspec.json.decode(text))

    def open_row(self, account_id: str, row: Row) -> Job:
        """Give the job that a row holds.

        Raises:
            ConfigurationError: it was sealed with another master key, or changed.
        """
        return self.open(account_id, row.id, Kept(row.body, row.key_id))

    def show_row(self, account_id: str, row: Row) -> Job | None:
        """Give the job that a row holds, None when this server has not the master key that sealed it."""
        try:
            return self.open_row(account_id, row)
        except ConfigurationError:
            return None

    def hash(self, job: Job) -> bytes:
        """Give what tells a job from another one under the same id; with a master key it cannot be guessed at."""
        text = encode(job)
        return hashlib.sha256(text).digest() if self._cipher is None else self._cipher.digest(text)

    def is_hash_of(self, body_hash: bytes, job: Job) -> bool:
        """Say whether a hash is this job's; one from before there was a master key counts, too."""
        return body_hash == self.hash(job) or body_hash == Seals(None).hash(job)

    def envelope(self, account_id: str, id: str, job: Job) -> bytes:
        """Give the body of the job's message: the job itself, or what it is about and the sealed rest."""
        kept = self.keep(account_id, id, job)
        if kept.key_id is None:
            return kept.body
        name = "exportId" if isinstance(job, ExportJob) else "messageId"
        sealed = b64encode(kept.key_id.encode() + kept.body).decode()
        return msgspec.json.encode({"type": type_of(job), name: id, "priority": job.priority, "sealed": sealed})

    def read_envelope(self, account_id: str, body: Any) -> Job:
        """Give the job that a message holds.

        Raises:
            BodyDoesNotFit: it holds none.
            ConfigurationError: it was sealed with another master key, or changed.
        """
        if isinstance(body, dict) and isinstance(body.get("sealed"), str):
            message_id = str(body.get("messageId") or body.get("exportId"))
            try:
                packed = b64decode(body["sealed"], validate=True)
            except ValueError:
                packed = b""
            kept = Kept(packed[KEY_ID_CHARACTERS:], packed[:KEY_ID_CHARACTERS].decode("ascii", "replace"))
            return self.open(account_id, message_id, kept)
        return read_job(body)


def encode(job: Job) -> bytes:
    """Write a job as its sender would, its fields in a fixed order."""
    return msgspec.json.encode(job)


def named(job: Job, job_id: str) -> str:
    """Give the id of a job: its sender's, else that of its message."""
    return id_of(job) or job_id


def _name(id: str) -> str:
    return f"message {id}"
