"""Producers and pullers that go on while the server dies and comes back, and write down what they were told."""

import http.client
import random
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.acceptance.ledger import CONFIRMED, REFUSED, UNKNOWN, Delivery, Ledger, Outcome, Sending, Settling
from tests.support import Reply, Server

DELAYS = (0, 0, 0, 0.3, 1.5)
BATCHES = (2, 10, 30, 100)
LEASES_SECONDS = (0.7, 1.5, 3)
PAUSE_SECONDS = 0.01
DRAIN_LEASE_SECONDS = 60
DRAIN_SECONDS = 40

IN_DOUBT = b"nobody knows"  # what a server says when a database was lost during a commit

PULL = {"type": "http_pull", "settings": {"max_retries": 100}}
PULL_ONCE = {"type": "http_pull", "dead_letter_queue": "graves", "settings": {"max_retries": 0}}


class Asked(NamedTuple):
    """A request with its times; `reply` is None when no answer came."""

    reply: Reply | None
    began: float
    ended: float

    @property
    def outcome(self) -> Outcome:
        if self.reply is None or IN_DOUBT in self.reply.body:
            return UNKNOWN
        return CONFIRMED if self.reply.status == 200 else REFUSED


class Traffic:
    """Clients of three queues: one where leases lapse at will, one that buries at once, and its dead letters."""

    expected = (200,)  # other statuses are broken promises

    def __init__(self, server: Server, seed: int, *, body_bytes: int = 60) -> None:
        self.ledger = Ledger()
        self._server, self._seed, self._body_bytes = server, seed, body_bytes
        self._queues = {name: server.create_queue(name) for name in ("graves", "patient", "strict")}
        for name, queue_id in self._queues.items():
            consumer = PULL_ONCE if name == "strict" else PULL
            assert server.v4("POST", f"/queues/{queue_id}/consumers", consumer).status == 200
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self) -> None:
        work: list[tuple[Callable[..., None], str]] = [
            (self._push, "patient"),
            (self._push, "patient"),
            (self._push, "strict"),
            (self._push_batch, "patient"),
            (self._push_batch, "strict"),
            (self._pull, "patient"),
            (self._pull, "patient"),
            (self._pull, "patient"),
            (self._pull, "strict"),
            (self._pull, "graves"),
        ]
        for number, (step, queue) in enumerate(work):
            arguments = (step, queue, f"{queue}-{number}", random.Random(f"{self._seed}-{number}"))
            self._threads.append(threading.Thread(target=self._repeat, args=arguments, daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not self._failures, self._failures

    def wait(self, seconds: float) -> None:
        """Let the traffic go on for so long."""
        self._stopping.wait(seconds)

    def drain(self) -> None:
        """Take and acknowledge what is left, and compare it with the counts the server gave before."""
        waiting = sum(self._backlog(queue) for queue in self._queues)
        until = time.monotonic() + DRAIN_SECONDS
        while any(self._backlog(queue) for queue in self._queues):
            assert time.monotonic() < until, "the queues do not become empty"
            for queue in self._queues:
                leases = self._receive(queue, 100, DRAIN_LEASE_SECONDS, draining=True)
                self._settle(queue, leases, {})
                if not leases:
                    time.sleep(PAUSE_SECONDS)
        drained = sum(delivery.draining for delivery in self.ledger.deliveries)
        assert drained == waiting, f"{waiting} messages were counted, {drained} were there"

    def _repeat(self, step: Callable[..., None], queue: str, name: str, chance: random.Random) -> None:
        number = 0
        try:
            while not self._stopping.is_set():
                step(queue, f"{name}-{number}", chance)
                number += 1
                self._stopping.wait(PAUSE_SECONDS)
        except BaseException as error:
            self._failures.append(error)
            raise

    def _push(self, queue: str, name: str, chance: random.Random) -> None:
        delay = chance.choice(DELAYS)
        asked = self._ask(queue, "messages", self._message(name, delay))
        self._note_sending({self._body(name): delay}, asked)

    def _push_batch(self, queue: str, name: str, chance: random.Random) -> None:
        delays = {f"{name}-{part}": chance.choice(DELAYS) for part in range(chance.choice(BATCHES))}
        messages = [self._message(part, delay) for part, delay in delays.items()]
        asked = self._ask(queue, "messages/batch", {"messages": messages})
        self._note_sending({self._body(part): delay for part, delay in delays.items()}, asked)
        self._stopping.wait(0.1)

    def _pull(self, queue: str, name: str, chance: random.Random) -> None:
        leases = self._receive(queue, chance.randint(1, 100), chance.choice(LEASES_SECONDS), draining=False)
        acks, retries = [], {}
        for lease in leases:
            fate = chance.random()
            if fate < 0.8:
                acks.append(lease)
            elif fate < 0.9:
                retries[lease] = chance.choice((0, 0, 0.5))
        if chance.random() < 0.2:
            self._stopping.wait(0.3)
        self._settle(queue, acks, retries)

    def _receive(self, queue: str, batch_size: int, lease_seconds: float, *, draining: bool) -> list[str]:
        wanted = {"batch_size": batch_size, "visibility_timeout_ms": round(lease_seconds * 1000)}
        asked = self._ask(queue, "messages/pull", wanted)
        if asked.reply is None or asked.outcome != CONFIRMED:
            return []
        messages = asked.reply.result["messages"]
        self.ledger.deliveries.extend(
            Delivery(
                queue,
                message["body"],
                message["id"],
                message["lease_id"],
                message["attempts"],
                message["timestamp_ms"],
                lease_seconds,
                asked.began,
                asked.ended,
                draining,
            )
            for message in messages
        )
        return [message["lease_id"] for message in messages]

    def _settle(self, queue: str, acks: list[str], retries: dict[str, float]) -> None:
        if not acks and not retries:
            return
        wanted: dict[str, float | None] = {**dict.fromkeys(acks), **retries}
        body = {
            "acks": [{"lease_id": lease} for lease in acks],
            "retries": [{"lease_id": lease, "delay_seconds": delay} for lease, delay in retries.items()],
        }
        asked = self._ask(queue, "messages/ack", body)
        stale = asked.reply.result["warnings"] if asked.outcome == CONFIRMED and asked.reply else {}
        for lease, delay in wanted.items():
            outcome = REFUSED if lease in stale else asked.outcome
            self.ledger.settlings.append(Settling(lease, delay, asked.began, asked.ended, outcome))

    def _backlog(self, queue: str) -> int:
        return int(self._server.v4("GET", f"/queues/{self._queues[queue]}/metrics").result["backlog_count"])

    def _body(self, name: str) -> str:
        return name.ljust(self._body_bytes, ".")

    def _message(self, name: str, delay: float) -> dict[str, Any]:
        return {"body": self._body(name), "content_type": "text", "delay_seconds": delay}

    def _note_sending(self, delays: dict[str, float], asked: Asked) -> None:
        self.ledger.sendings.append(Sending(delays, asked.began, asked.ended, asked.outcome))

    def _ask(self, queue: str, path: str, body: dict[str, Any], **more: Any) -> Asked:
        began = time.monotonic()
        try:
            reply = self._server.v4("POST", f"/queues/{self._queues[queue]}/{path}", body, timeout=10, **more)
        except TimeoutError:
            self.ledger.refusals.append(f"{path} of {queue} was not answered within 10 s")
            return Asked(None, began, time.monotonic())
        except (OSError, ValueError, http.client.HTTPException):  # no server, or killed before it had answered
            self._stopping.wait(PAUSE_SECONDS)
            return Asked(None, began, time.monotonic())
        if reply.status not in self.expected:
            self.ledger.refusals.append(f"{path} of {queue} was answered {reply.status}: {reply.body[:200]!r}")
        return Asked(reply, began, time.monotonic())
