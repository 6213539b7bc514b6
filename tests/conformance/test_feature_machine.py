"""Random operations with priorities, ordering keys, times, deduplication and forwards, against a small model."""

import asyncio
from math import inf

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from millrace.message import HIGH, LOW, NORMAL
from millrace.placing import places_of
from millrace.queue import Forward
from millrace.redriving import RedriveFilter
from millrace.settlement import Ack, Postpone, Reject, Retry
from millrace.sql import messages
from millrace.sql.lanes import keys_of_lane
from millrace.sql.queue_state import load
from tests.conformance.conftest import ManualClock, Place
from tests.conformance.made import queue, stamped

RETENTION_MS, RETRY_DELAY_MS, MAX_RETRIES = 40_000, 5000, 2
HEAD_START_MS, WINDOW_MS, COPY_DELAY_MS = 4000, 20_000, 3000
QUEUES = st.sampled_from(["q", "q", "q", "copies", "dead"])
ACTS = ["send", "receive", "receive", "pass_time"] * 5 + ["settle_late", "change", "redrive"] * 2 + ["purge"]
OUTCOMES = st.sampled_from([Ack(), Ack(), Retry(), Retry(0), Retry(7), Reject("no"), Reject("no"), Postpone(2)])
MESSAGE = st.fixed_dictionaries(
    {
        "priority": st.sampled_from([LOW, NORMAL, NORMAL, HIGH]),
        "ordering_key": st.sampled_from([None, None, "a", "a", "b"]),
        "dedupe_key": st.sampled_from([None, None, None, None, "k"]),
        "delay": st.sampled_from([None, None, None, None, 3, 100]),
        "copied": st.booleans(),
    }
)


class Model:
    """Messages in order of arrival. Of a key in a queue, one is the head; the others are parked."""

    def __init__(self):
        self.messages, self.seen = [], {}

    def enter(self, m, where, due):
        parked = m["key"] is not None and any(o["key"] == m["key"] for o in self.of(where))
        m.update({"in": where, "due": due, "parked": parked, "lease": None, "tries": 0, "ends": 0})

    def leave(self, m, now):
        """Take a message out of its queue and let the next of its key be the head."""
        behind = [o for o in self.of(m["in"]) if o["key"] == m["key"] and o is not m]
        if m["key"] is not None and not m["parked"] and behind:
            behind[0].update(parked=False, due=max(now, behind[0]["due"]))
        m["in"] = None

    def of(self, where):
        return [m for m in self.messages if m["in"] == where]

    def ready(self, where, now):
        due = [m for m in self.of(where) if not m["parked"] and m["due"] <= now]
        return sorted(due, key=lambda m: m["due"] - m["priority"] * HEAD_START_MS)  # ties stay in order of arrival

    def scheduled(self, where, now):
        return [m for m in self.of(where) if m["lease"] is None and not m["tries"] and (m["parked"] or m["due"] > now)]

    def lease(self, m, lease, now, lease_ms):
        m["tries"] += 1
        delay = RETRY_DELAY_MS if m["in"] == "q" and m["tries"] <= MAX_RETRIES else 0
        m.update(lease=lease, ends=now + lease_ms, due=now + lease_ms + delay)

    def settle(self, where, lease, outcome, now):
        m = next((m for m in self.of(where) if m["lease"] == lease), None)
        if m is None or (not isinstance(outcome, Ack) and m["ends"] <= now):
            return False
        failed_for_good = isinstance(outcome, Retry) and where == "q" and m["tries"] > MAX_RETRIES
        if isinstance(outcome, Ack) or (isinstance(outcome, Reject) and where != "q"):
            self.leave(m, now)
        elif isinstance(outcome, Reject) or failed_for_good:
            self.bury(m, outcome.reason or "max_retries", now)
        else:
            own = RETRY_DELAY_MS if where == "q" else 0
            delay = own if outcome.delay_seconds is None else outcome.delay_seconds * 1000
            m.update(lease=None, due=now + delay, tries=m["tries"] - isinstance(outcome, Postpone))
        return True

    def bury(self, m, reason, now):
        self.leave(m, now)
        self.enter(m, "dead", now)
        m.update(kept=now, reason=reason)

    def redrive(self, wanted, spacing_ms, now):
        free = [m for m in self.of("dead") if m["lease"] is None or m["due"] <= now]
        chosen = [m for m in free if wanted.reason is None or wanted.reason in m["reason"]][: wanted.limit]
        for number, m in enumerate(chosen):
            self.leave(m, now)
            self.enter(m, "q", now + number * spacing_ms)
            m.update(kept=m["due"])
        return len(chosen)

    def reap(self, now):
        lapsed = [m for m in self.of("q") if m["lease"] and m["due"] <= now and m["tries"] > MAX_RETRIES]
        for m in sorted(lapsed, key=lambda m: m["due"]):
            if now - m["kept"] < RETENTION_MS:
                self.bury(m, "max_retries", now)
        for where in ("q", "copies", "dead"):
            gone = [m for m in self.of(where) if now - m["kept"] >= RETENTION_MS]
            for m in sorted(gone, key=lambda m: not m["parked"]):
                self.leave(m, now)


class FeatureMachine(RuleBasedStateMachine):
    maker = "sqlite"

    def __init__(self):
        super().__init__()
        self.clock, self.model = ManualClock(), Model()
        self.leases, self.refs = [], []
        self.loop = asyncio.new_event_loop()
        self.place = Place(self.maker)

    @initialize(forward_only=st.booleans())
    def set_up(self, forward_only):
        self.forward_only = forward_only
        self.run_(self._set_up())

    async def _set_up(self):
        self.store = self.place.open(self.clock)
        kept = {"message_retention_period": RETENTION_MS // 1000}
        head_start = {"head_start_seconds": HEAD_START_MS // 1000}
        self.made = {
            "q": queue(
                "q",
                max_retries=MAX_RETRIES,
                retry_delay=RETRY_DELAY_MS // 1000,
                dead_letter_queue="dead",
                taking=head_start,
                forwards=(Forward("copies", {"Copy": "1"}),),
                forward_only=self.forward_only,
                deduplication_seconds=WINDOW_MS // 1000,
                **kept,
            ),
            "copies": queue("copies", taking=head_start, delivery_delay=COPY_DELAY_MS // 1000, max_retries=99, **kept),
            "dead": queue("dead", taking=head_start, max_retries=99, **kept),
        }
        for name in ("dead", "copies", "q"):
            await self.store.create_queue(self.made[name])

    def run_(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    @rule(act=st.sampled_from(ACTS), data=st.data())
    def act(self, act, data):
        """Do anything. As rules of their own most acts would be left out of an example, and little would happen."""
        getattr(self, act)(data.draw)

    def send(self, draw):
        drawn, now = draw(st.lists(MESSAGE, min_size=1, max_size=6)), self.clock()
        messages = [_stamped(now, **one) for one in drawn]
        backlog = self.run_(self.store.send(self.made["q"].id, messages))
        places, fresh = places_of(messages, backlog), []
        for message, place in zip(messages, places, strict=True):
            key = message.features.dedupe_key
            at, first_id = self.model.seen.get(key, (-inf, None))
            if key is not None and at > now - WINDOW_MS:
                assert (place.id, place.key) == (first_id, 0)
                continue
            self.model.seen[key] = (now, message.id)
            fresh.append(message)
        kept_here = [message for message in fresh if not (self.forward_only and message.headers)]
        assert [place.id for place in places if place.key] == [message.id for message in kept_here]
        self._enter(kept_here, "q", 0)
        self._enter([message for message in fresh if message.headers], "copies", COPY_DELAY_MS)
        self.refs += [("q", place.key, place.id) for place in places if place.key]

    def _enter(self, messages, where, delay_ms):
        for message in messages:
            due = message.visible_at_ms if message.is_timed else message.sent_at_ms + delay_ms
            features = message.features
            kept = message.sent_at_ms if features.kept_since_ms is None else features.kept_since_ms
            m = {"id": message.id, "key": features.ordering_key, "priority": features.priority, "kept": kept}
            self.model.enter(m, where, due)
            self.model.messages.append(m)

    def receive(self, draw):
        where, limit, lease_ms = draw(QUEUES), draw(st.integers(1, 5)), draw(st.sampled_from([0, 1000, 10_000]))
        now = self.clock()
        received = self.run_(self.store.receive(self.made[where].id, limit, lease_ms, now)).messages
        expected = self.model.ready(where, now)[:limit]
        assert [(message.id, message.priority) for message in received] == [(m["id"], m["priority"]) for m in expected]
        for m, message in zip(expected, received, strict=True):
            self.model.lease(m, message.lease, now, lease_ms)
            assert (message.attempts, message.ordering_key) == (m["tries"], m["key"])
        self.leases += [(where, message.lease) for message in received]
        for message in received:
            outcome = draw(st.one_of(OUTCOMES, OUTCOMES, st.none()))
            if outcome is not None:
                self._settle(where, message.lease, outcome)

    def settle_late(self, draw):
        if self.leases:
            self._settle(*draw(st.sampled_from(self.leases[-8:])), draw(OUTCOMES))

    def _settle(self, where, lease, outcome):
        (settled,) = self.run_(self.store.settle(self.made[where].id, [(lease, outcome)], self.clock()))
        assert (settled is not None) == self.model.settle(where, lease, outcome, self.clock())

    def change(self, draw):
        if not self.refs:
            return
        (where, key, message_id), now = draw(st.sampled_from(self.refs[-8:])), self.clock()
        how = draw(st.sampled_from(["cancel", "reschedule", "discard"]))
        wanted = self.model.of(where) if how == "discard" else self.model.scheduled(where, now)
        m = next((m for m in wanted if m["id"] == message_id), None)
        queue_id = self.made[where].id
        if how == "reschedule":
            done = self.run_(self.store.reschedule(queue_id, (key, message_id), now + 4000, now))
        else:
            (done,) = self.run_(getattr(self.store, how)(queue_id, [(key, message_id)], now))
        assert done == (m is not None)
        if m is not None and how == "reschedule":
            m.update(due=now + 4000, kept=now + 4000)
        elif m is not None:
            self.model.leave(m, now)

    def redrive(self, draw):
        wanted = RedriveFilter(
            reason=draw(st.sampled_from([None, "retries"])), limit=draw(st.sampled_from([None, 1, 2]))
        )
        spacing_ms, now = draw(st.sampled_from([0, 1500])), self.clock()
        moved, _ = self.run_(self.store.redrive(self.made["dead"].id, now, 0, wanted, spacing_ms))
        assert moved == self.model.redrive(wanted, spacing_ms, now)

    def purge(self, draw):
        where = draw(QUEUES)
        self.run_(self.store.purge(self.made[where].id, self.clock()))
        self.model.messages = [m for m in self.model.messages if m["in"] != where]

    def pass_time(self, draw):
        self.clock.advance(draw(st.sampled_from([0.5, 1, 3, 6, 20])))

    @invariant()
    def shows_and_counts_what_the_model_holds_and_each_key_has_one_head(self):
        now = self.clock()
        while self.run_(self.store.bury_lapsed(now)):
            pass
        self.run_(self.store.expire(now))
        self.model.reap(now)
        shown = self.run_(
            self.store.write(lambda tx: {where: _seen(tx, queue, now) for where, queue in self.made.items()})
        )
        for where, (ids, count, heads) in shown.items():
            expected = self.model.of(where)
            assert ids == [m["id"] for m in expected]
            assert count == len(expected)
            assert sorted(heads) == sorted({m["key"] for m in expected if m["key"] is not None})

    def teardown(self):
        if hasattr(self, "store"):
            self.run_(self.store.close())
        self.loop.close()
        self.place.remove()


def _stamped(now, *, delay, copied, **features):
    is_timed = delay is not None
    due = now + (delay or 0) * 1000
    headers, kept_since_ms = {"Copy": "1"} if copied else None, due if is_timed else None
    message = stamped(now, headers=headers, kept_since_ms=kept_since_ms, **features)
    return msgspec.structs.replace(message, visible_at_ms=due, is_timed=is_timed)


def _seen(tx, queue, now):
    """Give the ids of a queue's messages, their count, and the ordering key of each that is not parked."""
    ids = [message.id for message in messages.peek(tx, queue.id, 1000, now, 0)]
    first_key, end_key = keys_of_lane(load(tx, queue.id).lane)
    rows = tx.fetch("in_order", (first_key, end_key, 1000))
    heads = [key for *_, key, due_at_ms in rows if key is not None and due_at_ms is None]
    return ids, messages.backlog(tx, queue.id).count, heads


class FeatureMachineOnPostgres(FeatureMachine):
    maker = "postgres"


TestFeatureMachine = FeatureMachine.TestCase
TestFeatureMachine.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestFeatureMachineOnPostgres = FeatureMachineOnPostgres.TestCase
TestFeatureMachineOnPostgres.settings = settings(max_examples=12, stateful_step_count=40, deadline=None)
