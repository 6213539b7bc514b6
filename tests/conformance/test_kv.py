"""Key-value pairs."""

from itertools import pairwise

import pytest

from millrace import limits
from millrace.coordination.kv import Kv
from millrace.coordination.sweep import KV_CHUNK, sweep
from millrace.errors import InvalidInput, TooLarge


@pytest.fixture
def kv(store, clock) -> Kv:
    return Kv(store, clock, "acc", "AUTH_KV")


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        ("grüße", "text", "grüße"),
        ("grüße", "bytes", "grüße".encode()),
        (b"\xff\x00", "bytes", b"\xff\x00"),
        ({"a": [1, None]}, "json", {"a": [1, None]}),
        ([1], "text", "[1]"),
        ("", "text", ""),
    ],
)
async def test_a_value_is_read_as_what_is_asked_for(kv, value, kind, read):
    await kv.put("k", value)

    assert await kv.get("k", kind) == read


async def test_a_key_that_is_not_there_reads_as_none(kv):
    await kv.delete("k")

    assert await kv.get("k", "json") is None
    assert await kv.get_with_metadata("k") == (None, None)


async def test_a_put_replaces_value_metadata_and_end(kv, clock):
    await kv.put("k", "1", expiration_ttl=60, metadata={"by": "a"})
    await kv.put("k", "2")

    clock.advance(3600)

    assert await kv.get_with_metadata("k") == ("2", None)


async def test_metadata_comes_with_the_value_and_with_the_list(kv):
    await kv.put("k", "v", metadata={"by": "a"})

    assert await kv.get_with_metadata("k") == ("v", {"by": "a"})
    assert (await kv.list()).keys[0].metadata == {"by": "a"}


async def test_a_deleted_key_is_gone(kv):
    await kv.put("k", "v")

    await kv.delete("k")

    assert await kv.get("k") is None


async def test_what_has_expired_is_gone_at_once_and_its_rows_later(kv, store, clock):
    await kv.put("ttl", "v", expiration_ttl=60)
    await kv.put("at", "v", expiration=clock() // 1000 + 60)
    await kv.put("for ever", "v")
    assert await kv.get("ttl") == "v"

    clock.advance(60)

    assert [await kv.get("ttl"), await kv.get("at")] == [None, None]
    assert [key.name for key in (await kv.list()).keys] == ["for ever"]
    assert [await sweep(store, clock()), await sweep(store, clock())] == [2, 0]


async def test_a_sweep_removes_a_bounded_number_of_values(kv, store, clock):
    for number in range(KV_CHUNK + 1):
        await kv.put(str(number), "v", expiration_ttl=60)

    now_ms = clock.advance(60)

    assert [await sweep(store, now_ms) for _ in range(3)] == [KV_CHUNK, 1, 0]


async def test_keys_are_listed_in_the_order_of_their_bytes_page_by_page(kv):
    names = sorted(["user:1", "user:10", "user:2", "user:ä", "user:\U0010ffff", "user", "uses", "v"], key=str.encode)
    for name in names:
        await kv.put(name, "v")

    first = await kv.list(limit=3)
    second = await kv.list(limit=5, cursor=first.cursor)
    of_users = await kv.list(prefix="user:")

    assert [key.name for key in first.keys + second.keys] == names
    assert (first.list_complete, second.list_complete, second.cursor) == (False, True, None)
    assert [key.name for key in of_users.keys] == [name for name in names if name.startswith("user:")]


async def test_a_page_of_a_prefix_goes_on_where_the_last_one_ended(kv):
    for number in range(10):
        await kv.put(f"a{number}", "v")
        await kv.put(f"b{number}", "v")

    pages = [await kv.list(prefix="a", limit=4)]
    while pages[-1].cursor:
        pages.append(await kv.list(prefix="a", limit=4, cursor=pages[-1].cursor))

    names = [key.name for page in pages for key in page.keys]
    assert [len(page.keys) for page in pages] == [4, 4, 2]
    assert all(one < following for one, following in pairwise(names))


async def test_accounts_and_namespaces_are_apart(kv, store, clock):
    others = [Kv(store, clock, "acc", "OTHER"), Kv(store, clock, "other", "AUTH_KV")]
    for number, one in enumerate([kv, *others]):
        await one.put("k", str(number))

    assert [await one.get("k") for one in [kv, *others]] == ["0", "1", "2"]


@pytest.mark.parametrize("key", ["", ".", "..", "ü" * 257, "\ud800", None])
async def test_what_is_no_key_is_refused(kv, key):
    for verb in (kv.get, kv.delete, lambda key: kv.put(key, "v")):
        with pytest.raises(InvalidInput, match="the key is"):
            await verb(key)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"expiration_ttl": 59}, "expiration_ttl is 59; expected a whole number from 60"),
        ({"expiration": 1}, "expiration is 1; expected a whole number from 1700000060"),
        ({"metadata": "x" * 1024}, "the metadata has 1026 bytes"),
        ({"metadata": object()}, "the metadata is no JSON"),
        ({"value": 7}, "the value is int"),
        ({"value": "\ud800"}, "the value is no text"),
        ({"value": {"a": object()}}, "the value is no JSON"),
    ],
)
async def test_what_cannot_be_stored_is_refused(kv, asked, sentence):
    with pytest.raises(InvalidInput, match=sentence):
        await kv.put(**{"key": "k", "value": "v", **asked})

    assert await kv.get("k") is None


async def test_a_value_has_at_most_a_megabyte(kv):
    await kv.put("k", b"x" * limits.KV_VALUE_BYTES)

    with pytest.raises(TooLarge, match="has 1000001 bytes"):
        await kv.put("k", b"x" * (limits.KV_VALUE_BYTES + 1))


@pytest.mark.parametrize(("value", "kind"), [(b"\xff", "text"), ("{", "json"), ("v", "stream")])
async def test_a_value_that_is_not_of_the_type_is_refused(kv, value, kind):
    await kv.put("k", value)

    with pytest.raises(InvalidInput, match=kind):
        await kv.get("k", kind)


@pytest.mark.parametrize("asked", [{"limit": 0}, {"limit": 1001}, {"cursor": "ü"}, {"cursor": "_w=="}, {"cursor": "a"}])
async def test_a_list_out_of_bounds_is_refused(kv, asked):
    with pytest.raises(InvalidInput, match="expected"):
        await kv.list(**asked)
