"""Claims: of all who want to be the first with a key, one is."""

import asyncio
import threading

import pytest

from millrace.coordination import claims
from millrace.coordination.claims import Claims
from millrace.coordination.sweep import sweep
from millrace.errors import InvalidInput
from millrace.sql.sqlite.connection import connect
from millrace.sql.sqlite.transaction import SqliteTransaction


async def test_the_first_with_a_key_has_it_and_the_second_learns_who(store, clock):
    wanted = Claims(store, clock)

    first = await wanted.claim("acc", "hash", "k", "doc-1")
    second = await wanted.claim("acc", "hash", "k", "doc-2")

    assert (first.is_first, first.holder, first.ends_at_ms) == (True, "doc-1", None)
    assert (second.is_first, second.holder, second.ends_at_ms) == (False, "doc-1", None)


async def test_the_holder_that_claims_again_is_first_again_with_the_new_end(store, clock):
    wanted = Claims(store, clock)
    await wanted.claim("acc", "hash", "k", "doc-1")

    again = await wanted.claim("acc", "hash", "k", "doc-1", ttl_ms=1000)

    assert (again.is_first, again.ends_at_ms) == (True, clock() + 1000)


async def test_accounts_scopes_and_keys_are_claimed_apart(store, clock):
    wanted = Claims(store, clock)

    places = [("acc", "a", "bc"), ("acc", "ab", "c"), ("acc", "a", "b"), ("other", "a", "bc")]
    made = [await wanted.claim(*place, f"holder of {place}") for place in places]

    assert all(claim.is_first for claim in made)


async def test_a_claim_that_has_ended_is_free_whether_it_was_swept_or_not(store, clock):
    wanted = Claims(store, clock)
    for key in ("swept", "lying"):
        await wanted.claim("acc", "hash", key, "doc-1", ttl_ms=1000)
        clock.advance(1)
        if key == "swept":
            assert await sweep(store, clock()) == 1

        assert await wanted.look("acc", "hash", key) is None
        assert (await wanted.claim("acc", "hash", key, "doc-2")).is_first


async def test_only_its_holder_lets_go_of_a_claim(store, clock):
    wanted = Claims(store, clock)
    await wanted.claim("acc", "hash", "k", "doc-1")

    released = [await wanted.release("acc", "hash", "k", holder) for holder in ("doc-2", "doc-1", "doc-1")]

    assert released == [False, True, False]
    assert (await wanted.claim("acc", "hash", "k", "doc-2")).is_first


async def test_two_first_users_a_thousand_times_have_one_winner_each(store, clock):
    wanted = Claims(store, clock)

    made = await asyncio.gather(
        *[wanted.claim("acc", "hash", str(number), holder) for number in range(1000) for holder in ("a", "b")]
    )

    pairs = list(zip(made[::2], made[1::2], strict=True))
    assert all(one.is_first + other.is_first == 1 for one, other in pairs)
    assert all(one.holder == other.holder for one, other in pairs)


@pytest.mark.parametrize("opener", ["postgres"], indirect=True)
async def test_two_servers_on_one_database_have_one_winner_for_each_key(opener, clock):
    stores = [opener(clock), opener(clock)]
    servers = [Claims(store, clock) for store in stores]

    made = await asyncio.gather(
        *[server.claim("acc", "scope", str(number), str(server)) for number in range(200) for server in servers]
    )

    pairs = list(zip(made[::2], made[1::2], strict=True))
    for store in stores:
        await store.close()
    assert all(one.is_first + other.is_first == 1 and one.holder == other.holder for one, other in pairs)


@pytest.mark.parametrize("opener", ["sqlite"], indirect=True)
async def test_two_threads_with_connections_of_their_own_have_one_winner_for_each_key(store, folder):
    """Here the database decides, and not our one writer."""
    path, won, together = str(folder / "store.db"), {"a": [], "b": []}, threading.Barrier(2)

    def claim_all(holder: str) -> None:
        tx = SqliteTransaction(connect(path))
        tx.connection.pragma("synchronous", "off")
        for number in range(1000):
            together.wait()
            tx.connection.execute("begin immediate")
            if claims.claim(tx, "acc", "scope", str(number), holder, 0).is_first:
                won[holder].append(number)
            tx.connection.execute("commit")
        tx.connection.close()

    await asyncio.gather(*[asyncio.to_thread(claim_all, holder) for holder in won])

    assert sorted(won["a"] + won["b"]) == list(range(1000))


@pytest.mark.parametrize(
    "asked",
    [
        {"scope": ""},
        {"key": ""},
        {"key": "k" * 513},
        {"key": "\ud800"},
        {"holder": 7},
        {"ttl_ms": 0},
        {"ttl_ms": 31_536_000_001},
    ],
)
async def test_a_claim_out_of_bounds_is_refused(store, clock, asked):
    with pytest.raises(InvalidInput, match="expected a"):
        await Claims(store, clock).claim("acc", **{"scope": "s", "key": "k", "holder": "h", **asked})
