"""The master key, and what is sealed with it: AES-256-GCM, bound to the account and the name of what it is."""

import hashlib
import hmac
import os
import secrets
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from millrace.errors import ConfigurationError, Conflict

KEY_BYTES, NONCE_BYTES = 32, 12
KEY_FILE = "master.key"


class Sealed(NamedTuple):
    """A value that only the master key of that id opens."""

    nonce: bytes
    ciphertext: bytes
    key_id: str


class Cipher:
    """Seals and opens values. `key_id` names the master key without telling anything of it."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._digest_key = hashlib.sha256(b"millrace digests" + key).digest()
        self.key_id = hashlib.sha256(b"millrace master key" + key).hexdigest()[:16]

    def seal(self, account_id: str, name: str, value: str) -> Sealed:
        """Encrypt a value for that account under that name."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return Sealed(nonce, self._aead.encrypt(nonce, value.encode(), _bound_to(account_id, name)), self.key_id)

    def digest(self, value: bytes) -> bytes:
        """Give 32 bytes that tell values apart, and nothing of them to who has not the key."""
        return hmac.digest(self._digest_key, value, "sha256")

    def open(self, account_id: str, name: str, sealed: Sealed) -> str:
        """Decrypt a value.

        Raises:
            ConfigurationError: another key has sealed it, or it was changed or moved from another place.
        """
        try:
            return self._aead.decrypt(sealed.nonce, sealed.ciphertext, _bound_to(account_id, name)).decode()
        except (InvalidTag, ValueError):
            raise ConfigurationError(
                f"secret {name!r} of account {account_id!r} cannot be decrypted: "
                "it was changed in the database, or sealed with another master key; put it again"
            ) from None


class MasterKey:
    """Where the master key comes from: `text`, which is MASTER_KEY, else the file in the data directory.

    Without a folder there is no file: other servers on the same store would not have it.
    """

    def __init__(self, text: str | None, folder: Path | None) -> None:
        self._text, self.file = text, None if folder is None else folder / KEY_FILE

    @property
    def place(self) -> str:
        """Name where the key is, or would be."""
        if self._text or self.file is None:
            return "MASTER_KEY" if self._text else "this server"
        return str(self.file)

    def find(self) -> Cipher | None:
        """Give the cipher of the key there is; None when there is none.

        Raises:
            ConfigurationError: it is not 32 bytes in base64 or hex, or the file cannot be read.
        """
        if self._text:
            return Cipher(read_master_key("MASTER_KEY", self._text))
        if self.file is None:
            return None
        try:
            return Cipher(read_master_key(str(self.file), self.file.read_text("ascii")))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self.file} cannot be read: {error}") from error

    def find_or_make(self) -> Cipher:
        """Give the cipher of the key, which is made, and written for its owner's eyes only, when there is none.

        Raises:
            Conflict: several servers share the store, and this one was given no key.
        """
        cipher = self.find()
        if cipher is None:
            if self.file is None:
                raise Conflict(
                    "MASTER_KEY is not set; give all servers of this database the same one, "
                    "such as `openssl rand -base64 32` prints"
                )
            _write_new(self.file, b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            cipher = self.find()
        assert cipher is not None
        return cipher


def read_master_key(place: str, text: str) -> bytes:
    """Read a key of 32 bytes from base64 or hex.

    Raises:
        ConfigurationError: it is none; the message names the place.
    """
    text = text.strip()
    for decode in (bytes.fromhex, lambda text: b64decode(text, validate=True)):
        with suppress(ValueError):
            if len(key := decode(text)) == KEY_BYTES:
                return key
    raise ConfigurationError(
        f"{place} is no master key; expected 32 bytes in base64 or hex, such as `openssl rand -base64 32` prints"
    )


def _bound_to(account_id: str, name: str) -> bytes:
    return f"{account_id}/{name}".encode()


def _write_new(file: Path, content: bytes) -> None:
    """Write a file so that it is there as a whole or not at all; one that another process was quicker with stays."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(unfinished, file)
        unfinished.unlink()
        _sync_folder(file.parent)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error}; set MASTER_KEY instead") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
