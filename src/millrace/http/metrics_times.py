"""Times, counted by how long they were."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Times:
    """A histogram as plain numbers; prometheus_client's own takes longer than the rest of a send's bookkeeping."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Give for each bound, in seconds and as text, how many were not longer."""
        bounds = [*(str(bound) for bound in self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))
