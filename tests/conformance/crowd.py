"""Many tasks that do anything to the queues of one database, on several stores, and a ledger of what they were told."""

from asyncio import gather, sleep
from collections import Counter, defaultdict
from contextlib import contextmanager, suppress

from msgspec.structs import replace

from millrace.consumer import RateLimit
from millrace.errors import (
    BacklogFull,
    DeliveryPaused,
    IdempotencyKeyReused,
    QueueNameTaken,
    QueueNotFound,
    StoreUnavailable,
)
from millrace.idempotency import Once
from millrace.message import HIGH, LOW, NORMAL
from millrace.placing import Repeated, fresh_of, places_of
from millrace.queue import Forward
from millrace.settlement import Ack, Postpone, Reject, Removed, Retry
from tests.conformance.made import queue, stamped

RETENTION_SECONDS, WINDOW_SECONDS, MAX_RETRIES, MAX_BACKLOG, RATE = 60, 20, 2, 12, RateLimit(5, 10)
REFUSALS = (BacklogFull, DeliveryPaused, IdempotencyKeyReused, QueueNameTaken)
HASTY = ("purge", "recreate")  # they do not wait for long for those who send
KEPT = ("first", "second", "copies", "limited", "rated")  # in their families nothing goes without having been settled
ACTS = {
    "send": 14, "receive": 20, "settle": 20, "settle_twice": 4, "extend": 3, "discard": 2, "cancel": 3, "reschedule": 3,
    "redrive": 2, "bury_lapsed": 3, "expire": 1, "sweep": 2, "purge": 1, "recreate": 1, "change": 1, "pass_time": 4,
}  # fmt: skip


def furniture():
    """Make the queues: two whose messages have everything, and one for each thing that a queue can have."""
    common = {"retry_delay": 1, "max_retries": MAX_RETRIES, "message_retention_period": None}
    copied = {"forwards": (Forward("copies", {"Copy": "1"}),)}
    return [
        queue("copies", dead_letter_queue="copies-dead", **common),
        queue("first", dead_letter_queue="first-dead", deduplication_seconds=WINDOW_SECONDS, **common, **copied),
        queue("second", dead_letter_queue="second-dead", deduplication_seconds=WINDOW_SECONDS, **common, **copied),
        queue("purged", dead_letter_queue="purged-dead", **common),
        queue("limited", dead_letter_queue="limited-dead", max_backlog_messages=MAX_BACKLOG, **common),
        queue("rated", dead_letter_queue="rated-dead", taking={"rate_limit": RATE}, **common),
        queue("short", **{**common, "message_retention_period": RETENTION_SECONDS}),
    ]


class Ledger:
    """What the tasks were told. A family is a queue with its dead-letter queue."""

    def __init__(self):
        self.stored, self.removed = Counter(), Counter()  # by family and id
        self.first_ids = defaultdict(set)  # by queue and idempotency key: what the sends with it were told
        self.dedupe_times = defaultdict(list)  # by queue and deduplication key: when what was stored was sent
        self.leases = {}  # by queue and id: attempt and end of a lease that nobody has touched yet
        self.taken = Counter()

    def note_stored(self, name, messages, answer):
        for message in fresh_of(messages, answer):
            self.stored[family(name), message.id] += 1
            if message.features.dedupe_key is not None and name in ("first", "second"):
                self.dedupe_times[name, message.features.dedupe_key].append(message.sent_at_ms)
            if message.headers and name in ("first", "second"):
                self.stored["copies", message.id] += 1

    def note_delivery(self, name, message, now_ms, until_ms):
        """Hold a delivery against the one before: nobody has settled that, so its lease must be over."""
        attempts, ended_at_ms = self.leases.get((name, message.id), (0, 0))
        assert name.endswith("-dead") or message.attempts <= MAX_RETRIES + 1
        self.taken[name] += 1
        if message.attempts >= attempts:  # else it was told late, after the next one
            assert ended_at_ms <= now_ms, f"{message.id} was delivered to two"
            self.leases[name, message.id] = message.attempts, until_ms

    def note_removed(self, name, message_id):
        self.removed[family(name), message_id] += 1
        assert self.removed[family(name), message_id] == 1, f"{message_id} was removed twice"


class Crowd:
    """Tasks over several stores; what a task does is chosen by chance."""

    def __init__(self, stores, clock, chance):
        self.stores, self.clock, self.chance, self.ledger = stores, clock, chance, Ledger()
        self.ids, self.names, self.held, self.refs = {}, [], [], []

    async def set_up(self):
        for made in furniture():
            await self.stores[0].create_queue(made)
        for found in await self.stores[0].queues("acc"):
            self.ids[found.name] = found.id
        self.names = sorted(self.ids)

    async def act(self, tasks, acts):
        """Let so many tasks act at the same time, each so many times."""
        await gather(*[self._act_often(acts) for _ in range(tasks)])

    async def _act_often(self, acts):
        """Act; what is refused in the ways that are documented is no fault."""
        for name in self.chance.choices([*ACTS], [*ACTS.values()], k=acts):
            refused = (*REFUSALS, StoreUnavailable) if name in HASTY else REFUSALS
            with suppress(*refused), self._some_queues_come_and_go():
                await getattr(self, name)(self.chance.choice(self.stores))

    @contextmanager
    def _some_queues_come_and_go(self):
        try:
            yield
        except QueueNotFound as error:
            if any(self.ids[name] in str(error) for name in self.names if not name.startswith("purged")):
                raise AssertionError("a queue is gone") from error

    async def send(self, store):
        name = self.chance.choice([name for name in self.names if "dead" not in name])
        messages = [self._message(name) for _ in range(self.chance.choice([1, 1, 2, 5]))]
        key = self.chance.choice([None] * 60 + [*range(30)])
        once = None if key is None else Once(key_hash=bytes([key]) * 32, content_hash=b"same" * 8)
        answer = await store.send(self.ids[name], messages, once)
        self._note_send(name, messages, key, answer)

    def _note_send(self, name, messages, key, answer):
        self.ledger.note_stored(name, messages, answer)
        if key is not None:
            self.ledger.first_ids[self.ids[name], key].add(answer.first_id)
        if not isinstance(answer, Repeated):
            self.refs += [(name, (place.key, place.id)) for place in places_of(messages, answer) if place.key]
            assert name != "limited" or answer.count <= MAX_BACKLOG  # a redrive may have brought it beyond

    def _message(self, name):
        pick = self.chance.choice
        body, delay = pick([b"1", b"12345"]), pick([0, 0, 0, 2, 20])
        if name not in ("first", "second", "purged") or pick([True, False]):
            return stamped(self.clock(), body, delay)
        return stamped(
            self.clock(), body, delay,
            headers=pick([None, None, {"Copy": "1"}]),
            priority=pick([LOW, NORMAL, NORMAL, HIGH]),
            ordering_key=pick([None, "a", "b", "c"]),
            dedupe_key=pick([None, None, None, *"klmnopq"]),
        )  # fmt: skip

    async def receive(self, store):
        name, lease_ms = self.chance.choice(self.names), self.chance.choice([500, 5000, 5000])
        began_at_ms = self.clock()
        is_ready = self.chance.choice([None, None, lambda count, since_ms, is_urgent: count > 1])
        found = await store.receive(self.ids[name], self.chance.choice([1, 3, 10]), lease_ms, began_at_ms, is_ready)
        for message in found.messages:
            self.ledger.note_delivery(name, message, self.clock(), began_at_ms + lease_ms)
            self.held.append((name, message))

    def _draw_held(self, count):
        """Take messages of one queue out of those that are held; nothing is known of their leases from here on."""
        if not self.held:
            return "", []
        name, _ = self.chance.choice(self.held)
        drawn = [one for one in self.held if one[0] == name][-count:]
        self.held = [one for one in self.held if one not in drawn]
        for _, message in drawn:
            self.ledger.leases.pop((name, message.id), None)
        return name, [message for _, message in drawn]

    def _outcome(self):
        return self.chance.choice([Ack()] * 6 + [Retry(), Retry(0), Retry(7), Reject("no"), Postpone(1)])

    async def settle(self, store):
        name, messages = self._draw_held(self.chance.choice([1, 5, 10]))
        if messages:
            await self._settle(store, name, [(message, self._outcome()) for message in messages])

    async def settle_twice(self, store):
        """Settle on all stores at the same moment, each with outcomes of its own; one of them counts."""
        name, messages = self._draw_held(5)
        if messages:
            orders = [self.chance.sample(messages, len(messages)) for _ in self.stores]
            chosen = [[(message, self._outcome()) for message in order] for order in orders]
            settled = await gather(*[self._settle(*one) for one in zip(self.stores, [name] * 9, chosen, strict=False)])
            counts = Counter(message_id for ids in settled for message_id in ids)
            assert not counts or max(counts.values()) == 1, f"{counts} were settled twice"

    async def _settle(self, store, name, chosen):
        outcomes = [(message.lease, outcome) for message, outcome in chosen]
        settled = await store.settle(self.ids[name], outcomes, self.clock())
        for (message, _), settlement in zip(chosen, settled, strict=True):
            if isinstance(settlement, Removed):
                self.ledger.note_removed(name, message.id)
        return [message.id for (message, _), found in zip(chosen, settled, strict=True) if found is not None]

    async def extend(self, store):
        name, messages = self._draw_held(5)
        if messages:
            await store.extend(self.ids[name], [message.lease for message in messages], self.clock() + 5000)
            self.held += [(name, message) for message in messages]

    async def discard(self, store):
        await self._take_out(store.discard)

    async def cancel(self, store):
        await self._take_out(store.cancel)

    async def _take_out(self, verb):
        name, refs = self._draw_refs()
        if refs:
            gone = await verb(self.ids[name], refs, self.clock())
            for (_, message_id), is_gone in zip(refs, gone, strict=True):
                if is_gone:
                    self.ledger.note_removed(name, message_id)

    def _draw_refs(self):
        if not self.refs:
            return "", []
        name, _ = self.chance.choice(self.refs)
        refs = [ref for queue_name, ref in self.refs[-100:] if queue_name == name]
        return name, self.chance.sample(refs, min(3, len(refs)))

    async def reschedule(self, store):
        name, refs = self._draw_refs()
        if refs:
            at_ms = self.clock() + self.chance.choice([0, 3000])
            await store.reschedule(self.ids[name], refs[0], at_ms, self.clock())

    async def redrive(self, store):
        name = self.chance.choice([name for name in self.names if "dead" in name])
        await store.redrive(self.ids[name], self.clock(), spacing_ms=self.chance.choice([0, 500]))

    async def bury_lapsed(self, store):
        await store.bury_lapsed(self.clock())

    async def expire(self, store):
        await store.expire(self.clock())
        await store.expire_idempotency_keys(self.clock())

    async def sweep(self, store):
        await store.sweep()

    async def purge(self, store):
        await store.purge(self.ids[self.chance.choice(["purged", "purged-dead"])], self.clock())

    async def recreate(self, store):
        name = self.chance.choice(["purged", "purged-dead"])
        made = queue(name, dead_letter_queue=None if "dead" in name else "purged-dead", max_retries=MAX_RETRIES)
        await store.delete_queue("acc", self.ids[name])
        try:
            await store.create_queue(made)
        except QueueNameTaken:  # a burial needed it, and was quicker
            made = await store.queue_named("acc", name) or made
        self.ids[name] = made.id

    async def change(self, store):
        """Pause a queue, and let it go on."""
        name = self.chance.choice(self.names)
        await store.update_queue("acc", self.ids[name], paused)
        await sleep(0)
        await self.chance.choice(self.stores).update_queue("acc", self.ids[name], unpaused)

    async def pass_time(self, store):
        self.clock.advance(self.chance.choice([0.1, 0.5, 2]))


def paused(made):
    return replace(made, settings=replace(made.settings, delivery_paused=True))


def unpaused(made):
    return replace(made, settings=replace(made.settings, delivery_paused=False))


def family(name):
    return name.partition("-")[0]
