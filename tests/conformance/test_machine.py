"""Random operations against a small model: what the tables of cases do not think of."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from millrace.settlement import Ack, Postpone, Reject, Retry
from tests.conformance.conftest import ManualClock, Place
from tests.conformance.made import queue, stamped

RETENTION, RETRY_DELAY, MAX_RETRIES = 600, 5, 2
BODIES = st.lists(st.binary(max_size=5), min_size=1, max_size=4)
OUTCOMES = st.sampled_from([Ack(), Ack(), Retry(), Retry(0), Retry(7), Reject("no"), Postpone(2)])


class Model:
    """What a queue with a dead-letter queue is: a list of messages in the order they were sent."""

    def __init__(self):
        self.messages = []

    def send(self, message_id, body, now, visible):
        self.messages.append(
            {
                "id": message_id,
                "body": body,
                "in": "q",
                "visible": visible,
                "kept": now,
                "lease": None,
                "tries": 0,
                "ends": 0,
            }
        )

    def alive(self, now, where):
        return [m for m in self.messages if m["in"] == where and now - m["kept"] < RETENTION * 1000]

    def lapse(self, now):
        """Bury what failed for good; call it before looking."""
        for m in self.alive(now, "q"):
            if m["lease"] and m["ends"] <= now and m["tries"] > MAX_RETRIES:
                self.bury(m, now)

    def bury(self, m, now):
        m.update({"in": "dead", "visible": now, "kept": now, "lease": None, "tries": 0})

    def ready(self, now):
        order = {id(m): number for number, m in enumerate(self.messages)}
        waiting = [m for m in self.alive(now, "q") if m["visible"] <= now]
        return sorted(waiting, key=lambda m: (m["visible"], order[id(m)]))

    def lease(self, m, lease, now, lease_ms):
        m["tries"] += 1
        last = m["tries"] > MAX_RETRIES
        m.update(lease=lease, ends=now + lease_ms, visible=now + lease_ms + (0 if last else RETRY_DELAY * 1000))

    def settle(self, lease, outcome, now):
        m = next((m for m in self.messages if m["lease"] == lease and m["in"] == "q"), None)
        if m is None or (not isinstance(outcome, Ack) and m["ends"] <= now):
            return False
        if isinstance(outcome, Ack):
            self.messages.remove(m)
        elif isinstance(outcome, Reject) or (isinstance(outcome, Retry) and m["tries"] > MAX_RETRIES):
            self.bury(m, now)
        else:
            delay = RETRY_DELAY if outcome.delay_seconds is None else outcome.delay_seconds
            m.update(lease=None, visible=now + delay * 1000, tries=m["tries"] - isinstance(outcome, Postpone))
        return True

    def redrive(self, now):
        for m in self.alive(now, "dead"):
            m.update({"in": "q", "visible": now, "kept": now, "lease": None, "tries": 0})

    def expire(self, now):
        self.messages = [m for m in self.messages if now - m["kept"] < RETENTION * 1000]


class StoreMachine(RuleBasedStateMachine):
    leases = Bundle("leases")
    maker = "sqlite"

    def __init__(self):
        super().__init__()
        self.clock, self.model = ManualClock(), Model()
        self.loop = asyncio.new_event_loop()
        self.place = Place(self.maker)
        self.loop.run_until_complete(self._set_up())

    async def _set_up(self):
        self.store = self.place.open(self.clock)
        made = queue(
            max_retries=MAX_RETRIES,
            retry_delay=RETRY_DELAY,
            dead_letter_queue="dead",
            message_retention_period=RETENTION,
        )
        await self.store.create_queue(made)
        dead = await self.store.queue_named("acc", "dead")
        await self.store.update_queue("acc", dead.id, _with_retention)
        self.queue_id, self.dead_id = made.id, dead.id

    def run_(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    @rule(bodies=BODIES, delay=st.sampled_from([0, 0, 0, 3, 30]))
    def send(self, bodies, delay):
        messages = [stamped(self.clock(), body, delay) for body in bodies]
        self.run_(self.store.send(self.queue_id, messages))
        for message in messages:
            self.model.send(message.id, message.body, self.clock(), message.visible_at_ms)

    @rule(target=leases, limit=st.integers(1, 5), lease_ms=st.sampled_from([0, 1000, 10_000]))
    def receive(self, limit, lease_ms):
        now = self.clock()
        received = self.run_(self.store.receive(self.queue_id, limit, lease_ms, now)).messages
        self.model.lapse(now)
        expected = self.model.ready(now)[:limit]
        assert [message.id for message in received] == [m["id"] for m in expected]
        for m, message in zip(expected, received, strict=True):
            self.model.lease(m, message.lease, now, lease_ms)
            assert message.attempts == m["tries"]
            assert message.body == m["body"]
        return multiple(*[message.lease for message in received])

    @rule(target=leases, bodies=BODIES, outcomes=st.lists(OUTCOMES, min_size=1, max_size=5))
    def handle(self, bodies, outcomes):
        """Do all in one, since an example often leaves a rule out, and then nothing is there to be received."""
        self.send(bodies, 0)
        received = self.receive(len(outcomes), 10_000).values
        for lease, outcome in zip(received, outcomes, strict=False):
            self.settle(lease, outcome)
        return multiple(*received)

    @rule(lease=leases, outcome=OUTCOMES)
    def settle(self, lease, outcome):
        now = self.clock()
        (settled,) = self.run_(self.store.settle(self.queue_id, [(lease, outcome)], now))
        m = next((m for m in self.model.messages if m["lease"] == lease), None)
        if m is not None and now - m["kept"] >= RETENTION * 1000:  # expired: whether it is swept yet is not promised
            self.model.messages.remove(m)
            self.run_(self.store.expire(now))
            self.model.expire(now)
            return
        assert (settled is not None) == self.model.settle(lease, outcome, now)

    @rule(seconds=st.sampled_from([0.5, 1, 3, 6, 20, 300]))
    def pass_time(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def reap(self):
        now = self.clock()
        while self.run_(self.store.bury_lapsed(now)):
            pass
        self.model.lapse(now)
        self.run_(self.store.expire(now))
        self.model.expire(now)
        while self.run_(self.store.sweep()):
            pass

    @rule()
    def redrive(self):
        now = self.clock()
        self.run_(self.store.expire(now))
        self.model.expire(now)
        self.run_(self.store.redrive(self.dead_id, now))
        self.model.redrive(now)

    @rule(where=st.sampled_from(["q", "dead"]))
    def purge(self, where):
        self.run_(self.store.purge(self.queue_id if where == "q" else self.dead_id, self.clock()))
        self.model.messages = [m for m in self.model.messages if m["in"] != where]

    @invariant()
    def shows_and_counts_what_the_model_holds(self):
        now = self.clock()
        while self.run_(self.store.bury_lapsed(now)):
            pass
        self.model.lapse(now)
        self.run_(self.store.expire(now))
        self.model.expire(now)
        for where, queue_id in (("q", self.queue_id), ("dead", self.dead_id)):
            expected = self.model.alive(now, where)
            shown = self.run_(self.store.peek(queue_id, 1000, now))
            assert [message.id for message in shown] == [m["id"] for m in expected]
            backlog = self.run_(self.store.backlog(queue_id))
            assert (backlog.count, backlog.bytes) == (len(expected), sum(len(m["body"]) for m in expected))

    def teardown(self):
        self.run_(self.store.close())
        self.loop.close()
        self.place.remove()


def _with_retention(old):
    fields = {name: getattr(old, name) for name in old.__struct_fields__}
    return type(old)(**fields | {"settings": type(old.settings)(message_retention_period=RETENTION)})


class StoreMachineOnPostgres(StoreMachine):
    maker = "postgres"


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestStoreMachineOnPostgres = StoreMachineOnPostgres.TestCase
TestStoreMachineOnPostgres.settings = settings(max_examples=12, stateful_step_count=40, deadline=None)
