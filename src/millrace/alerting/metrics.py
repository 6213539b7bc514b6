"""The rules of an account for Prometheus: 1 while one fires."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace.access.keys import Key
from millrace.alerting import storing
from millrace.alerting.storing import Kept
from millrace.http.desk import Desk
from millrace.work import Work


async def firing(desk: Desk, key: Key) -> Collector:
    """Read the rules about queues that the key reaches."""
    kept = await desk.store.read(lambda tx: storing.of_account(Work(tx, desk.clock), key.account_id))
    return _Firing([one for one in kept if key.reaches(one.rule.queue)])


class _Firing(Collector):
    def __init__(self, kept: Sequence[Kept]) -> None:
        self._kept = kept

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily(
            "millrace_alert_firing", "1 while the alert fires", labels=["rule", "queue", "measure"]
        )
        for rule, standing, _ in self._kept:
            gauge.add_metric([rule.name, rule.queue, rule.measure], standing.status == "firing")
        yield gauge
