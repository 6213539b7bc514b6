"""Counts and times for Prometheus, kept per account so that none sees another's queues."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from millrace.access.keys import Key
from millrace.access.scopes import Scope
from millrace.http.desk import Desk
from millrace.http.metrics_histogram import Histogram
from millrace.http.metrics_jobs import JOB_EVENTS, TARGET_EVENTS, JobMetrics, TargetMetrics
from millrace.http.request import Request
from millrace.http.routes import Answer, Route
from millrace.message import Backlog

COUNTED = {
    "message.sent": "Messages stored",
    "message.deduplicated": "Messages not stored, because their deduplication key was known",
    "message.received": "Deliveries begun",
    "message.acked": "Messages acknowledged",
    "message.released": "Messages released for another delivery",
    "message.buried": "Messages moved to a dead-letter queue",
    "message.dropped": "Messages dropped after their last delivery",
    "message.expired": "Messages removed by retention",
    "message.redriven": "Messages moved back to where they came from",
    "lease.stale": "Settlements that came too late",
    "handler.failed": "Handler calls that failed",
}
BOOKED = (*COUNTED, "handler.returned", *JOB_EVENTS, *TARGET_EVENTS)
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100)

Read = Callable[[Desk, Key], Awaitable[Collector]]


class _AccountMetrics(Collector):
    """What happened in the queues of one account since the start."""

    def __init__(self) -> None:
        self.counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.send = Histogram(SECONDS)
        self.handler: defaultdict[str, Histogram] = defaultdict(partial(Histogram, SECONDS))
        self.batches: defaultdict[str, Histogram] = defaultdict(partial(Histogram, BATCH_SIZES))
        self.jobs = JobMetrics()

    def collect(self) -> Iterator[Metric]:
        for name, text in COUNTED.items():
            family = CounterMetricFamily(f"millrace_{name.replace('.', '_')}", text, labels=["queue"])
            for (counted, queue), count in self.counts.items():
                if counted == name:
                    family.add_metric([queue], count)
            yield family
        send = HistogramMetricFamily("millrace_send_seconds", "Time until a send was on disk", labels=[])
        send.add_metric([], self.send.buckets(), self.send.total)
        yield send
        handler = HistogramMetricFamily("millrace_handler_seconds", "Time of handler calls", labels=["queue"])
        for queue, times in self.handler.items():
            handler.add_metric([queue], times.buckets(), times.total)
        yield handler
        batch = HistogramMetricFamily("millrace_batch_messages", "Messages of a handler call", labels=["queue"])
        for queue, sizes in self.batches.items():
            batch.add_metric([queue], sizes.buckets(), sizes.total)
        yield batch
        yield from self.jobs.collect()


class MetricsBook:
    """A subscriber that counts, and the route that shows the counts."""

    def __init__(self) -> None:
        self._accounts: defaultdict[str, _AccountMetrics] = defaultdict(_AccountMetrics)
        self._targets = TargetMetrics()
        self._others: list[Read] = []

    def __call__(self, name: str, fields: dict[str, Any]) -> None:
        """Count an event."""
        if name in TARGET_EVENTS:
            self._targets.count(name, fields)
            return
        account = self._accounts[fields["account_id"]]
        if name == "handler.returned":
            account.handler[fields["queue"]].add(fields["duration_ms"] / 1000)
            account.batches[fields["queue"]].add(fields["count"])
            return
        if name in JOB_EVENTS:
            account.jobs.count(name, fields)
            return
        account.counts[name, fields["queue"]] += fields.get("count", 1)
        if name == "message.sent":
            account.send.add(fields["duration_ms"] / 1000)

    def add(self, read: Read) -> None:
        """Show what this reads for a key, too."""
        self._others.append(read)

    async def show_counts(self, desk: Desk, request: Request) -> Answer:
        """Show counts, times and backlogs of the account's queues to Prometheus."""
        key = request.key
        backlogs = await desk.store.backlogs(key.account_id)
        reached = {name: backlog for name, backlog in backlogs.items() if key.reaches(name)}
        waiting = desk.room.count(key.account_id)
        shown = CollectorRegistry()
        shown.register(_Queues(reached, waiting, desk.clock()))
        for read in self._others:
            shown.register(await read(desk, key))
        if key.queues is None:
            shown.register(self._accounts[key.account_id])
            shown.register(self._targets)
            ProcessCollector(registry=shown)
        return Answer(generate_latest(shown), content_type=CONTENT_TYPE_PLAIN_0_0_4.encode())

    def routes(self) -> list[Route]:
        """Give the route."""
        return [
            Route(
                method="GET",
                path="/metrics",
                handle=self.show_counts,
                scope=Scope.READ,
                gives=str,
                media_type="text/plain",
            )
        ]


class _Queues(Collector):
    """Gauges read from the store and the waiting room when somebody looks."""

    def __init__(self, backlogs: Mapping[str, Backlog], waiting: Mapping[str, int], now_ms: int) -> None:
        self._backlogs, self._waiting, self._now_ms = backlogs, waiting, now_ms

    def collect(self) -> Iterator[Metric]:
        messages = GaugeMetricFamily("millrace_backlog_messages", "Messages not yet settled", labels=["queue"])
        size = GaugeMetricFamily("millrace_backlog_bytes", "Bytes not yet settled", labels=["queue"])
        age = GaugeMetricFamily("millrace_oldest_message_age_seconds", "Age of the oldest message", labels=["queue"])
        waiting = GaugeMetricFamily("millrace_waiting_pulls", "Pulls that wait for messages", labels=["queue"])
        for name, backlog in self._backlogs.items():
            waiting.add_metric([name], self._waiting.get(name, 0))
            messages.add_metric([name], backlog.count)
            size.add_metric([name], backlog.bytes)
            oldest = backlog.oldest_sent_at_ms
            age.add_metric([name], max(0, self._now_ms - oldest) / 1000 if oldest else 0)
        yield from (messages, size, age, waiting)
