"""Numbers, such as times, counted by how large they were."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Plain counts by bound; prometheus_client's own takes longer than the rest of a send's bookkeeping."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, number: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, number)] += 1
        self.total += number

    def buckets(self) -> list[tuple[str, float]]:
        """Give for each bound, as text, how many were not larger."""
        bounds = [*(str(bound) for bound in self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))
