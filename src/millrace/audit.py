"""Who did what: an entry of the audit trail, and the chain of hashes that shows whether one was changed later.

An entry is written in the transaction of the act itself; who acts is set once, at the door, and goes along with the
caller's task.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import msgspec

from millrace.consumer import Consumer
from millrace.queue import Queue


class Actor(msgspec.Struct, frozen=True):
    """Who acts: a key by its id, `system` for the server itself, `command` for a command on the data directory."""

    name: str
    correlation_id: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One act. `object` names what was acted on (`queue orders`); `details` hold no body and no secret."""

    account_id: str
    at_ms: int
    actor: str
    act: str
    object: str
    details: dict[str, Any] = {}
    correlation_id: str = ""


class Noted(NamedTuple):
    """An entry as it stands in the trail; the hash is None for a second at most."""

    number: int
    entry: Entry
    hash: bytes | None


class Link(NamedTuple):
    """A place in the chain: the number of an entry and its hash, which is all that is left of one that was pruned."""

    number: int
    hash: bytes


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk along the chain has found.

    `number` and `hash` are those of the last entry that is good; `unchained` entries are too new to have a hash.
    """

    ok: bool
    entries: int
    unchained: int
    number: int
    hash: str
    first_bad_number: int | None = None
    what: str | None = None


SYSTEM = Actor("system")
ACTING: ContextVar[Actor] = ContextVar("acting", default=SYSTEM)
GENESIS = bytes(32)  # what the first entry of a chain follows
START = Link(0, GENESIS)
SHOWN_IDS = 100
PRUNED, RESTORED = "audit.pruned", "audit.restored"

_encode = msgspec.json.Encoder(order="deterministic").encode


def entry_of(account_id: str, at_ms: int, act: str, object: str, **details: Any) -> Entry:
    """Make the entry of an act by whoever acts in this task; details that are None are left out."""
    actor = ACTING.get()
    return Entry(
        account_id=account_id,
        at_ms=at_ms,
        actor=actor.name,
        act=act,
        object=object,
        details={key: value for key, value in details.items() if value is not None},
        correlation_id=actor.correlation_id,
    )


def following(entry: Entry, object: str, details: Mapping[str, Any], act: str | None = None) -> Entry:
    """Complete an entry by what only the transaction of its act knows."""
    return msgspec.structs.replace(entry, object=object, act=act or entry.act, details={**entry.details, **details})


def shown_ids(ids: Sequence[str]) -> dict[str, Any]:
    """Give the details of an act on messages: how many, and the ids of the first hundred."""
    return {"messages": len(ids), "ids": list(ids[:SHOWN_IDS])}


def next_hash(previous: bytes, number: int, entry: Entry) -> bytes:
    """Give the hash of an entry: SHA-256 over the hash before it, its number and its fields in a fixed order."""
    return hashlib.sha256(previous + b"%d " % number + _encode(entry)).digest()


def digest_of(pruned: Iterable[Link]) -> str:
    """Give the SHA-256 over pruned entries by which the entry of their pruning answers for them."""
    return hashlib.sha256(b"".join(b"%d %s" % link for link in pruned)).hexdigest()


def find_fault(link: Link, steps: Iterable[Noted | Link], digests: Mapping[int, str]) -> tuple[Link, str | None]:
    """Follow the chain from a link through entries that have hashes, and through pruned ones.

    `digests` are those of what each entry that tells of a pruning has taken away. Give the last good link and what
    broke the chain.
    """
    for step in steps:
        if step.number > link.number + 1:
            return link, f"entry {link.number + 1} is missing"
        if step.number <= link.number or not _fits(link, step):
            return link, f"entry {step.number} was changed, or put in"
        if isinstance(step, Noted) and not _answers(step, digests):
            return link, f"entry {step.number} tells of other pruned entries than are missing"
        link = _link_of(step)
    return link, None


def _fits(link: Link, step: Noted | Link) -> bool:
    return isinstance(step, Link) or step.hash == next_hash(link.hash, step.number, step.entry)


def _answers(noted: Noted, digests: Mapping[int, str]) -> bool:
    """Say whether all that is recorded as pruned by this act was in fact pruned by it."""
    return noted.number not in digests or noted.entry.details.get("digest") == digests[noted.number]


def _link_of(step: Noted | Link) -> Link:
    assert step.hash is not None
    return Link(step.number, step.hash)


def entry_of_creation(entry: Entry, queue: Queue) -> Entry:
    """Complete the entry of a queue's creation by what is not as in any other."""
    plain = facts_of(Queue(id="", account_id="", name=queue.name, created_at_ms=0, modified_at_ms=0))
    special = {name: value for name, value in facts_of(queue).items() if value != plain.get(name)}
    return following(entry, f"queue {queue.name}", {"after": special} if special else {})


def entry_of_change(entry: Entry, before: Queue, after: Queue) -> Entry | None:
    """Complete the entry of a queue's change by what is different, before and after; None when nothing is."""
    facts = facts_of(after)
    differences = differences_of(facts_of(before), facts)
    old, new = _kept_back(before), _kept_back(after)
    for name in [name for name in new if name in old and old[name] != new[name]]:
        differences.setdefault("after", {}).setdefault(name, facts.get(name, "replaced"))
    if not differences:
        return None
    act = None
    if differences.get("after", {}).keys() == {"delivery_paused"}:
        act = "queue.paused" if after.settings.delivery_paused else "queue.resumed"
    return following(entry, f"queue {after.name}", differences, act)


def facts_of(queue: Queue) -> dict[str, Any]:
    """Give what may be told of a queue and its consumer: no secret, no header's value, no URL's query."""
    facts: dict[str, Any] = {"name": queue.name, "jurisdiction": queue.jurisdiction}
    facts |= {"producers": list(queue.producers) or None, **msgspec.to_builtins(queue.settings)}
    facts["forwards"] = [{"queue": one.queue, "headers": sorted(one.headers)} for one in queue.settings.forwards]
    if queue.consumer is not None:
        facts |= {f"consumer.{name}": value for name, value in _facts_of_consumer(queue.consumer).items()}
    return facts


def _facts_of_consumer(consumer: Consumer) -> dict[str, Any]:
    url = consumer.url
    return {
        "type": consumer.type,
        "script_name": consumer.script_name or None,
        "environment_name": consumer.environment_name,
        "dead_letter_queue": consumer.dead_letter_queue,
        "url": url if url is None or "?" not in url else f"{url.partition('?')[0]}?…",
        "applied_by": consumer.applied_by,
        **msgspec.to_builtins(consumer.settings),
    }


def _kept_back(queue: Queue) -> dict[str, Any]:
    """Give in full what facts tell in part or not at all: a change of it is an act, too."""
    kept: dict[str, Any] = {"forwards": queue.settings.forwards}
    if queue.consumer is not None:
        kept |= {"consumer.url": queue.consumer.url, "consumer.secret": queue.consumer.secret}
    return kept


def differences_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the facts that differ, under `before` and `after`; a fact that is None is left out."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    sides = {"before": old, "after": new}
    shown = {
        side: {name: facts[name] for name in names if facts.get(name) is not None} for side, facts in sides.items()
    }
    return {side: facts for side, facts in shown.items() if facts}
