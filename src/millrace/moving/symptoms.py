"""What a store can be asked about its state, each answer with what to do when it is not as it should be."""

from collections.abc import Sequence
from time import monotonic
from typing import Literal

import msgspec

from millrace.clock import Clock
from millrace.coordination import locks
from millrace.moving.side import Side
from millrace.queue import Queue
from millrace.runtime.leader import ACCOUNT_ID, KEY

COMMITS = 10
SLOW_COMMIT_MS = 25.0
CLOCKS_DIFFER_MS = 1_000
CONNECTIONS_OF_A_SERVER = 8
LONG_TRANSACTION_SECONDS = 60
QUEUES_SHOWN = 20


class Finding(msgspec.Struct, frozen=True):
    """One answer; `advice` says what to do about one that is not ok."""

    state: Literal["ok", "warn", "fail"]
    what: str
    found: str
    advice: str = ""


def speed(side: Side) -> Finding:
    """Commit something small ten times."""
    times = []
    for _ in range(COMMITS):
        began = monotonic()
        with side.transaction():
            side.tx.apply("touch_store", {"step": 1})
            side.tx.apply("touch_store", {"step": -1})
        times.append((monotonic() - began) * 1000)
    median, worst = sorted(times)[COMMITS // 2], max(times)
    found = f"{median:.1f} ms, at most {worst:.1f} ms of {COMMITS}"
    if median <= SLOW_COMMIT_MS:
        return Finding("ok", "commit", found)
    return Finding("warn", "commit", found, "each answer waits for one; look for a faster disk, or a nearer database")


def queues(side: Side, now_ms: int) -> list[Finding]:
    """Tell of the longest queues, and of messages that nobody could handle."""
    values = [msgspec.json.decode(row[0], type=Queue) for row in side.tx.fetch("every_queue")]
    lanes = {lane: queue for queue, (_, lane) in zip(values, side.tx.fetch("every_queue"), strict=True)}
    dead = {(one.account_id, one.consumer.dead_letter_queue) for one in values if one.consumer is not None}
    rows = sorted(side.tx.fetch("backlog_of_lanes"), key=lambda row: -int(row[2]))
    full = [(lanes[lane], lane, int(count)) for _, lane, count, _ in rows if count and lane in lanes]
    found = [_about_queue(side, queue, lane, count, now_ms, dead) for queue, lane, count in full[:QUEUES_SHOWN]]
    rest = len(full) - len(found)
    return [Finding("ok", "queues", f"{len(values)}, {len(full)} hold messages"), *found] + (
        [Finding("ok", "queues", f"{rest} more hold messages")] if rest else []
    )


def leader(side: Side, now_ms: int, servers: Sequence[str] | None = None) -> Finding:
    """Say who sends crons and cleans up; `servers` are those at work, where the database knows them."""
    lock = locks.look(side.tx, ACCOUNT_ID, KEY, now_ms)
    if lock is not None:
        return Finding("ok", "leader", lock.owner)
    if servers:
        advice = "another one should take over within seconds; look into the servers' logs"
        return Finding("warn", "leader", "none, although servers are at work", advice)
    return Finding("ok", "leader", "none, as no server is at work")


def database(side: Side, clock: Clock) -> list[Finding]:
    """Tell of a PostgreSQL database: version, clock, connections, servers at work, and who is in their way."""
    version, free, used, ours, now_ms = side.tx.fetch("facts_of_database")[0]
    servers = [str(row[0]) for row in side.tx.fetch("servers_seen")]
    found = [
        Finding("ok", "database", f"PostgreSQL {version}"),
        _clocks(clock() - int(now_ms)),
        _connections(int(free), int(used) - int(ours), len(servers)),
        Finding("ok", "servers", ", ".join(servers) or "none at work"),
        leader(side, int(now_ms), servers),
    ]
    [(seconds,)] = side.tx.fetch("oldest_transaction")
    if seconds > LONG_TRANSACTION_SECONDS:
        advice = "while it is open, dead rows stay and receives become slower; find it in pg_stat_activity and end it"
        found.append(Finding("warn", "transactions", f"one is open for {seconds} s", advice))
    return found


def listening(pooled: bool, direct_pooled: bool | None) -> Finding:  # noqa: FBT001 - two answers to one question
    """Say whether wake-ups arrive: past a pooler of transactions only on a direct connection (None: there is no URL)."""
    if not pooled or direct_pooled is False:
        return Finding("ok", "wake-ups", "by LISTEN" if not pooled else "by LISTEN, past the pooler")
    advice = "set DIRECT_DATABASE_URL to the database itself; without it what waits looks again after a second"
    return Finding("warn", "wake-ups", "a pooler of transactions stands between", advice)


def _clocks(difference_ms: int) -> Finding:
    found = f"{abs(difference_ms) / 1000:.3f} s {'ahead of' if difference_ms > 0 else 'behind'} the database's"
    if abs(difference_ms) <= CLOCKS_DIFFER_MS:
        return Finding("ok", "clock", found)
    return Finding(
        "warn", "clock", found, "the database's counts, but log lines will not fit; let NTP set this machine's"
    )


def _connections(free: int, others: int, servers: int) -> Finding:
    needed = max(servers, 1) * CONNECTIONS_OF_A_SERVER
    found = f"{free} allowed, {others} of other programs, up to {needed} of {max(servers, 1)} server(s)"
    if others + needed <= free:
        return Finding("ok", "connections", found)
    return Finding("warn", "connections", found, "raise max_connections, put a pooler before it, or run fewer servers")


def _about_queue(
    side: Side, queue: Queue, lane: int, count: int, now_ms: int, dead: set[tuple[str, str | None]]
) -> Finding:
    sent_at_ms = side.tx.oldest_each([lane])[0]
    age = f", the oldest sent {_ago(now_ms - sent_at_ms)} ago" if sent_at_ms is not None else ""
    found = f"{count:,} {'message' if count == 1 else 'messages'}{age}"
    if (queue.account_id, queue.name) in dead:
        advice = f"look at them with millrace queues peek {queue.name}, and redrive them once their fault is mended"
        return Finding("warn", f"dead letters in {queue.name}", found, advice)
    if queue.consumer is None:
        return Finding("warn", f"queue {queue.name}", found, "nobody consumes it; attach a consumer, or purge it")
    return Finding("ok", f"queue {queue.name}", found)


def _ago(milliseconds: int) -> str:
    seconds = max(0, milliseconds // 1000)
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
