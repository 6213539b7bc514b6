"""The master key and what is sealed with it."""

import stat
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from millrace.access.cipher import KEY_FILE, Cipher, MasterKey, Sealed, read_master_key
from millrace.access.secrets import Secrets
from millrace.config import Settings, with_secrets
from millrace.errors import ConfigurationError, InvalidInput, SecretNotFound
from millrace.sql.sqlite.connection import prepare
from millrace.sql.store import SqlStore
from millrace.sql.stores import sqlite_store
from millrace.testing.clock import ManualClock

KEY, OTHER = bytes(range(32)), bytes(32)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    path = str(tmp_path / "store.db")
    prepare(path, "secrets")
    made = sqlite_store(path, ManualClock())
    yield made
    await made.close()


def secrets_of(store: SqlStore, folder: Path, key: bytes | None = KEY) -> Secrets:
    return Secrets(store, ManualClock(), MasterKey(key.hex() if key else None, folder))


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("text", [KEY.hex(), KEY.hex().upper(), b64encode(KEY).decode(), f" {KEY.hex()}\n"])
def test_a_master_key_is_32_bytes_in_hex_or_base64(text: str) -> None:
    assert read_master_key("MASTER_KEY", text) == KEY


@pytest.mark.parametrize("text", ["", "hunter2", KEY.hex()[2:], b64encode(KEY[1:]).decode(), "ü" * 64])
def test_any_other_text_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match="MASTER_KEY is no master key; expected 32 bytes") as refused:
        read_master_key("MASTER_KEY", text)

    assert not text or text not in str(refused.value)


def test_a_value_opens_only_under_the_account_the_name_and_the_key_it_was_sealed_for() -> None:
    cipher = Cipher(KEY)
    sealed = cipher.seal("a", "NAME", "hunter2")

    assert cipher.open("a", "NAME", sealed) == "hunter2"
    for other, account_id, name in ((cipher, "b", "NAME"), (cipher, "a", "OTHER"), (Cipher(OTHER), "a", "NAME")):
        with pytest.raises(ConfigurationError, match="cannot be decrypted"):
            other.open(account_id, name, sealed)


def test_a_changed_ciphertext_is_refused() -> None:
    sealed = Cipher(KEY).seal("a", "NAME", "hunter2")
    changed = Sealed(sealed.nonce, bytes([sealed.ciphertext[0] ^ 1]) + sealed.ciphertext[1:], sealed.key_id)

    with pytest.raises(ConfigurationError, match="cannot be decrypted"):
        Cipher(KEY).open("a", "NAME", changed)


async def test_the_first_secret_makes_a_key_file_for_its_owner_alone(store: SqlStore, tmp_path: Path) -> None:
    secrets = secrets_of(store, tmp_path, None)
    await secrets.check()
    assert not (tmp_path / KEY_FILE).exists()

    await secrets.put("a", "NAME", "hunter2")

    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert len(read_master_key("file", (tmp_path / KEY_FILE).read_text())) == 32
    assert await secrets_of(store, tmp_path, None).of("a") == {"NAME": "hunter2"}
    assert [name for name in files_of(tmp_path) if name.startswith("master")] == [KEY_FILE]


async def test_a_secret_is_replaced_listed_and_deleted(store: SqlStore, tmp_path: Path) -> None:
    secrets = secrets_of(store, tmp_path)
    await secrets.put("a", "NAME", "old")
    await secrets.put("a", "NAME", "new")
    await secrets.put("b", "NAME", "another account's")

    assert await secrets.of("a") == {"NAME": "new"}
    assert [secret.name for secret in await secrets.of_account("a")] == ["NAME"]
    await secrets.delete("a", "NAME")

    assert (await secrets.of("a"), await secrets.of_account("a")) == ({}, [])
    with pytest.raises(SecretNotFound):
        await secrets.delete("a", "NAME")


async def test_nothing_of_a_value_is_in_the_files(store: SqlStore, tmp_path: Path) -> None:
    await secrets_of(store, tmp_path).put("a", "NAME", "hunter2-hunter2-hunter2")

    assert [name for name, content in files_of(tmp_path).items() if b"hunter2" in content] == []


@pytest.mark.parametrize("name", ["", "1ST", "WITH-DASH", "with space", "ÜBER", "X" * 65, "a/b"])
async def test_a_name_that_no_program_could_use_is_refused(store: SqlStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="name"):
        await secrets_of(store, tmp_path).put("a", name, "value")


@pytest.mark.parametrize("value", ["", "x" * 64_001, "a\0b", "\ud800"])
async def test_a_value_that_cannot_be_is_refused(store: SqlStore, tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidInput, match="value"):
        await secrets_of(store, tmp_path).put("a", "NAME", value)


@pytest.mark.parametrize("key", [OTHER, None], ids=["another key", "no key"])
async def test_with_another_master_key_nothing_is_read_or_put_but_secrets_can_be_deleted(
    store: SqlStore, tmp_path: Path, key: bytes | None
) -> None:
    await secrets_of(store, tmp_path).put("a", "NAME", "hunter2")
    secrets = secrets_of(store, tmp_path, key)

    for act in (secrets.check(), secrets.of("a"), secrets.put("a", "NEW", "value")):
        with pytest.raises(
            ConfigurationError, match=r"another master key.*set MASTER_KEY.*millrace secret delete NAME"
        ):
            await act
    await secrets.delete("a", "NAME")

    await secrets.put("a", "NEW", "value")


def test_stored_secrets_fill_settings_that_nobody_has_set() -> None:
    secrets = {"JWT_SECRET": "stored", "TURNSTILE_SECRET": "stored", "HOST": "stored"}

    filled = with_secrets(Settings(jwt_secret="of the environment"), secrets)

    assert (filled.jwt_secret, filled.turnstile_secret, filled.r2_access_key_id) == (
        "of the environment",
        "stored",
        None,
    )
    assert filled.host == "127.0.0.1"
