"""Counts and times of the jobs of applications, and of the other servers that they call."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace.http.metrics_histogram import Histogram

JOB_EVENTS = ("job.queued", "job.ended")
TARGET_EVENTS = ("target.opened", "target.closed")
JOB_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class JobMetrics(Collector):
    """What happened to the jobs of one account since the start, by queue and type."""

    def __init__(self) -> None:
        self._queued: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._ended: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._times: defaultdict[tuple[str, str], Histogram] = defaultdict(partial(Histogram, JOB_SECONDS))

    def count(self, name: str, fields: Mapping[str, Any]) -> None:
        """Count an event of `JOB_EVENTS`."""
        about = (fields["queue"], fields["type"])
        if name == "job.queued":
            self._queued[about] += 1
            return
        self._ended[*about, fields["outcome"]] += 1
        self._times[about].add(fields["duration_ms"] / 1000)

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        yield _counter("millrace_jobs_queued", "Jobs queued", ["queue", "type"], self._queued)
        yield _counter("millrace_jobs", "Attempts at jobs ended", ["queue", "type", "outcome"], self._ended)
        seconds = HistogramMetricFamily("millrace_job_seconds", "Time of attempts at jobs", labels=["queue", "type"])
        for labels, times in self._times.items():
            seconds.add_metric(labels, times.buckets(), times.total)
        yield seconds


class TargetMetrics(Collector):
    """Which other servers are left alone now, because they failed; they belong to no account."""

    def __init__(self) -> None:
        self._is_open: dict[str, bool] = {}
        self._opened: defaultdict[tuple[str], int] = defaultdict(int)

    def count(self, name: str, fields: Mapping[str, Any]) -> None:
        """Count an event of `TARGET_EVENTS`."""
        target = fields["target"]
        self._is_open[target] = name == "target.opened"
        if self._is_open[target]:
            self._opened[target,] += 1

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        text = "1 while another server is left alone, because it failed"
        is_open = GaugeMetricFamily("millrace_target_open", text, labels=["target"])
        for target, value in self._is_open.items():
            is_open.add_metric([target], value)
        yield is_open
        yield _counter("millrace_target_opened", "Times that another server was left alone", ["target"], self._opened)


def _counter(name: str, text: str, labels: list[str], counts: Mapping[Any, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family
