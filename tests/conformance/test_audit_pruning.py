"""Entries of the audit trail go after their time; the chain holds over them, and tells of what a hand took out."""

from functools import partial

import pytest

from millrace.audit import GENESIS, PRUNED, entry_of, next_hash
from millrace.errors import InvalidInput, StoreUnavailable
from millrace.sql.audit import chain, note, page, verify
from millrace.work import Work

NORTH, SOUTH = "north", "south"
ALL = 1000
LATER_MS = 1_000_000


async def fill(store, count, accounts=(NORTH, SOUTH), first=0):
    """Note acts a second apart, by turns in the accounts, and chain them."""

    def write(tx):
        for number in range(first, first + count):
            account = accounts[number % len(accounts)]
            note(tx, entry_of(account, number * 1000, "thing.done", f"thing {number}", way="well", ä=[number]))

    await store.write(write)
    await chain(store)


async def old(store, clock, account=NORTH, at_ms=LATER_MS, after=0, limit=ALL):
    return await store.read(lambda tx: Work(tx, clock).audit_before(account, at_ms, after, limit))


async def prune(store, clock, numbers, account=NORTH):
    return await store.write(lambda tx: Work(tx, clock).prune_audit(account, numbers))


async def restore(store, clock, entries):
    return await store.write(lambda tx: Work(tx, clock).restore_audit(entries))


async def trail(store, account=NORTH):
    """Give the account's trail, oldest first."""
    return [*reversed(await store.read(partial(page, account_id=account, limit=ALL)))]


async def by_hand(store, *statements):
    """Change the database as somebody would who knows it well, with no trigger in the way."""
    triggers = ("audit_stays", "audit_keeps_its_hash", "audit_pruned_stays", "audit_pruned_keeps_its_words")
    out_of_the_way = ["set local session_replication_role = replica"]

    def change(tx):
        for statement in out_of_the_way if tx.shares else [f"drop trigger {name}" for name in triggers]:
            tx.execute(statement)
        for statement in statements:
            tx.execute(statement)

    await store.write(change)


async def test_old_entries_of_one_account_go_and_the_chain_holds(store, clock):
    await fill(store, 12)
    others = await trail(store, SOUTH)

    found = await old(store, clock, at_ms=8_000)
    deleted = await prune(store, clock, [noted.number for noted in found])
    await chain(store)

    assert ([noted.number for noted in found], deleted) == ([1, 3, 5, 7], 4)
    assert [noted.number for noted in await trail(store)] == [9, 11, 13]
    assert await trail(store, SOUTH) == others
    verdict = await verify(store)
    assert (verdict.ok, verdict.entries, verdict.unchained, verdict.number) == (True, 13, 0, 13)


async def test_a_pruning_is_noted_with_what_it_took(store, clock):
    await fill(store, 6)

    await prune(store, clock, [1, 3])

    noted = (await trail(store))[-1]
    words = {name: noted.entry.details[name] for name in ("entries", "first", "last")}
    assert (noted.entry.act, noted.entry.object, noted.entry.at_ms) == (PRUNED, "audit trail", clock())
    assert words == {"entries": 2, "first": 1, "last": 3}


async def test_entries_of_another_account_too_new_ones_and_notes_of_prunings_stay(store, clock):
    await fill(store, 6, accounts=(NORTH,))
    await prune(store, clock, [1])
    await store.write(lambda tx: note(tx, entry_of(SOUTH, 0, "thing.done", "thing")))
    await chain(store)
    await store.write(lambda tx: note(tx, entry_of(NORTH, 0, "thing.done", "thing that is not chained")))

    deleted = await prune(store, clock, [1, 7, 8, 9, 100])

    assert deleted == 0
    assert [noted.number for noted in await trail(store)] == [2, 3, 4, 5, 6, 7, 9]
    assert [noted.number for noted in await old(store, clock, at_ms=clock() + 1)] == [2, 3, 4, 5, 6]


async def test_the_newest_entry_of_the_chain_stays(store, clock):
    await fill(store, 3, accounts=(NORTH,))

    assert [noted.number for noted in await old(store, clock)] == [1, 2]
    assert await prune(store, clock, [3]) == 0


async def test_old_entries_are_given_in_portions(store, clock):
    await fill(store, 6, accounts=(NORTH,))

    first = await old(store, clock, limit=2)
    second = await old(store, clock, after=first[-1].number, limit=2)

    assert [[noted.number for noted in portion] for portion in (first, second)] == [[1, 2], [3, 4]]


async def test_the_whole_trail_but_its_end_may_go_in_portions_while_it_grows(store, clock):
    await fill(store, 1_200, accounts=(NORTH,))

    while found := await old(store, clock, at_ms=2_000_000):
        await prune(store, clock, [noted.number for noted in found])
        await fill(store, 2, accounts=(SOUTH,), first=10_000)

    verdict = await verify(store)
    assert (verdict.ok, verdict.number) == (True, 1_206)
    assert [noted.entry.act for noted in await trail(store)] == [PRUNED, PRUNED]


async def test_more_than_a_thousand_entries_at_once_are_refused(store, clock):
    with pytest.raises(InvalidInput, match="1001 audit entries; expected at most 1000"):
        await prune(store, clock, range(1, 1_002))


async def test_what_was_pruned_comes_back_as_it_was(store, clock):
    await fill(store, 8)
    before = await trail(store)
    gone = await old(store, clock, at_ms=6_000)
    await prune(store, clock, [noted.number for noted in gone])
    await chain(store)

    restored = [await restore(store, clock, gone[1:2]), await restore(store, clock, gone)]
    await chain(store)

    assert restored == [1, 2]
    assert (await trail(store))[: len(before)] == before
    assert [noted.entry.act for noted in await trail(store)][-3:] == [PRUNED, "audit.restored", "audit.restored"]
    assert (await verify(store)).ok


async def test_what_came_back_may_go_again(store, clock):
    await fill(store, 8)
    gone = await old(store, clock, at_ms=6_000)
    numbers = [noted.number for noted in gone]
    await prune(store, clock, numbers[:2])
    await restore(store, clock, gone[:2])

    assert await prune(store, clock, numbers) == 3

    await chain(store)
    assert (await verify(store)).ok
    assert await restore(store, clock, gone) == 3


async def test_an_entry_that_is_not_as_it_was_pruned_is_refused(store, clock):
    await fill(store, 8)
    gone = await old(store, clock, at_ms=6_000)
    await prune(store, clock, [noted.number for noted in gone])
    forged = entry_of(NORTH, 0, "thing.undone", "thing 0")

    for wrong in (
        gone[0]._replace(entry=forged),
        gone[0]._replace(entry=forged, hash=next_hash(GENESIS, 1, forged)),
        gone[0]._replace(hash=None),
        gone[0]._replace(number=3),
        (await trail(store, SOUTH))[0],
    ):
        with pytest.raises(InvalidInput, match="is not as it was pruned"):
            await restore(store, clock, [gone[1], wrong])

    assert [noted.number for noted in await trail(store)] == [7, 9]


async def test_an_entry_after_one_that_has_lost_its_hash_is_refused(store, clock):
    await fill(store, 4)
    gone = await old(store, clock, after=2)
    await prune(store, clock, [noted.number for noted in gone])
    await by_hand(store, "update audit set hash = null where number = 2")

    with pytest.raises(InvalidInput, match="entry 3 of the audit trail is not as it was pruned"):
        await restore(store, clock, gone)


TAMPERINGS = [
    # in a trail of ten, of which 1, 3 and 5 were pruned and entry 11 tells of it; the first bad number, a word that tells
    (("delete from audit where number = 4",), 4, "missing"),
    (
        (
            "insert into audit_pruned select number, hash, 11 from audit where number = 4",
            "delete from audit where number = 4",
        ),
        11,
        "tells of other",
    ),
    (
        (
            "insert into audit_pruned select number, hash, 8 from audit where number = 4",
            "delete from audit where number = 4",
        ),
        4,
        "missing",
    ),
    (("delete from audit_pruned where number = 3",), 3, "missing"),
    (("delete from audit_pruned",), 1, "missing"),
    (("update audit_pruned set hash = (select hash from audit where number = 2) where number = 3",), 4, "changed"),
    (("update audit_pruned set noted_in = 8 where number = 5",), 5, "missing"),
    (
        (
            "insert into audit_pruned select number, hash, 11 from audit where number = 11",
            "delete from audit where number = 11",
        ),
        1,
        "missing",
    ),
]


@pytest.mark.parametrize(("statements", "number", "word"), TAMPERINGS, ids=[row[0][0] for row in TAMPERINGS])
async def test_what_a_hand_took_out_is_found(store, clock, statements, number, word):
    await fill(store, 10)
    await prune(store, clock, [1, 3, 5])
    await fill(store, 1)

    await by_hand(store, *statements)

    verdict = await verify(store)
    assert (verdict.ok, verdict.first_bad_number) == (False, number)
    assert word in verdict.what


@pytest.mark.parametrize(
    "statement",
    [
        "delete from audit where number = 2",
        "delete from audit_pruned where number = 1",
        "update audit_pruned set noted_in = 2 where number = 1",
    ],
)
async def test_the_database_itself_refuses_what_was_not_recorded_as_pruned(store, clock, statement):
    await fill(store, 4)
    await prune(store, clock, [1])

    with pytest.raises(StoreUnavailable, match=r"ConstraintError|P0001"):
        await store.write(lambda tx: tx.execute(statement))

    assert [noted.number for noted in await trail(store)] == [3, 5]
