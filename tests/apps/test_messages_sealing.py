"""Jobs at rest: with a master key, nothing that a message holds can be read in the database."""

from pathlib import Path

import pytest

from millrace.apps.messaging.providers.contract import Failed, Refused
from millrace.apps.messaging.sealing import Kept
from millrace.errors import ConfigurationError, IdempotencyKeyReused
from tests.apps.databases import DATABASES
from tests.apps.message_rooms import ACCOUNT, CONTENT, email, export, open_rooms, sms

on_both = pytest.mark.parametrize("database", DATABASES)
KEY, OTHER = bytes(32), bytes(31) + b"\x01"
HELD = (CONTENT, "Hello", "ada@example.com", "+15005550006", "grace@example.com")


def found(folder: Path) -> list[str]:
    """Give the words of messages that stand in any file."""
    held = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    return [word for word in HELD if word.encode() in held]


async def test_no_file_of_the_database_tells_what_a_message_holds(tmp_path):
    async with open_rooms(tmp_path, key=KEY) as rooms:
        rooms.provider.answers = {"msg-2": [Refused("recorder", "550")], "sms-1": [Failed("recorder", "busy")]}
        await rooms.queue(email(), email("msg-2"), sms(), export(notifyEmail="grace@example.com"))
        await rooms.deliver()

        assert found(tmp_path) == []  # the journal beside the database, too
        assert rooms.provider.taken == ["msg-1"]
        assert len(await rooms.messages("dlq")) == 1
    assert found(tmp_path) == []


async def test_without_a_master_key_it_stands_there(tmp_path):
    """The search above finds what there is."""
    async with open_rooms(tmp_path) as rooms:
        await rooms.queue(email())

        assert found(tmp_path) == [CONTENT, "Hello", "ada@example.com"]


@on_both
@pytest.mark.parametrize("key", [OTHER, None], ids=["another", "none"])
async def test_a_server_without_the_right_master_key_tries_again_and_gives_up_with_a_clear_reason(
    tmp_path, database, key
):
    async with open_rooms(tmp_path, database, key=KEY) as rooms:
        await rooms.queue(email())

        await rooms.on_cipher(key).run()

        [reason] = await rooms.dead()
        row = await rooms.row("msg-1")
        assert "master key" in reason
        assert "msg-1" in reason
        assert (row.status, row.attempts, row.reason) == ("failed", 3, reason)
        assert rooms.provider.tried == []


@on_both
async def test_a_server_with_the_right_master_key_sends_what_another_one_could_not_open(tmp_path, database):
    async with open_rooms(tmp_path, database, key=KEY) as rooms:
        await rooms.queue(email())
        await rooms.on_cipher(OTHER).deliver()

        await rooms.run()

        assert rooms.provider.taken == ["msg-1"]
        assert (await rooms.row("msg-1")).status == "sent"


@on_both
async def test_what_was_queued_before_there_was_a_master_key_is_sent_and_stays_the_same_job(tmp_path, database):
    async with open_rooms(tmp_path, database) as rooms:
        [queued] = await rooms.queue(email())
        sealed = rooms.on_cipher(KEY)

        [again] = await sealed.queue(email())
        with pytest.raises(IdempotencyKeyReused):
            await sealed.queue(email(content="other"))
        await rooms.send(email())
        await sealed.run()

        assert again.job_id == queued.job_id
        assert rooms.provider.taken == ["msg-1"]
        assert await rooms.dead() == []


async def test_a_sealed_body_opens_under_its_own_id_and_account_only(tmp_path):
    async with open_rooms(tmp_path, key=KEY) as rooms:
        await rooms.queue(email())
        row = await rooms.row("msg-1")
        kept = Kept(row.body, row.key_id)

        assert rooms.rules.seals.open(ACCOUNT, "msg-1", kept).content == CONTENT
        for account_id, message_id, body in (
            (ACCOUNT, "msg-2", kept),
            ("other", "msg-1", kept),
            (ACCOUNT, "msg-1", kept._replace(body=kept.body[:-1] + b"x")),
            (ACCOUNT, "msg-1", kept._replace(body=b"")),
        ):
            with pytest.raises(ConfigurationError, match="master key"):
                rooms.rules.seals.open(account_id, message_id, body)


@on_both
@pytest.mark.parametrize("sealed", ["", "no base64", "AAAA", "é", "A" * 64])
async def test_an_envelope_that_cannot_be_opened_is_no_trouble_for_the_others(tmp_path, database, sealed):
    async with open_rooms(tmp_path, database, key=KEY) as rooms:
        await rooms.send({"type": "email_send", "messageId": "forged", "sealed": sealed})
        await rooms.queue(email())

        await rooms.run()

        assert rooms.provider.taken == ["msg-1"]
        assert len(await rooms.dead()) == 1
