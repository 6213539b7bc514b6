"""The table that a run prints, a line as soon as it is known."""

from collections.abc import Sequence
from statistics import median


class Table:
    """Rows of figures, each with the ratio to its floor and what was wanted."""

    def __init__(self) -> None:
        print(f"{'figure':<58} {'a second':>10} {'floor':>10} {'ratio':>6} {'wanted':>6}")

    def ratio(self, name: str, rates: Sequence[tuple[float, float]], wanted: float) -> float:
        """Print medians of a rate and its floor, measured in turn, and of their ratio; give that ratio."""
        ratio = median(rate / floor for rate, floor in rates)
        rate, floor = median(rate for rate, _ in rates), median(floor for _, floor in rates)
        print(
            f"{name:<58} {rate:>10,.0f} {floor:>10,.0f} {ratio:>6.2f} {wanted:>6.2f}{_mark(ratio >= wanted)}",
            flush=True,
        )
        return ratio

    def times(self, name: str, sorted_ms: Sequence[float], *, p50_ms: float, p99_ms: float) -> None:
        """Print two percentiles of times."""
        p50, p99 = sorted_ms[len(sorted_ms) // 2], sorted_ms[int(len(sorted_ms) * 0.99)]
        good = p50 <= p50_ms and p99 <= p99_ms
        print(
            f"{name:<58} p50 {p50:.2f} ms (wanted {p50_ms}), p99 {p99:.2f} ms (wanted {p99_ms}){_mark(good)}",
            flush=True,
        )

    def rate(self, name: str, per_second: float, wanted: float) -> None:
        """Print a rate without a floor."""
        print(
            f"{name:<58} {per_second:>10,.0f} {'':>10} {'':>6} {wanted:>6,.0f}{_mark(per_second >= wanted)}", flush=True
        )

    def typical(self, name: str, sorted_ms: Sequence[float], *, p50_ms: float) -> None:
        """Print the median of times, and their 95th percentile."""
        p50, p95 = sorted_ms[len(sorted_ms) // 2], sorted_ms[int(len(sorted_ms) * 0.95)]
        print(f"{name:<58} p50 {p50:.2f} ms (wanted {p50_ms}), p95 {p95:.2f} ms{_mark(p50 <= p50_ms)}", flush=True)

    def line(self, text: str) -> None:
        """Print something else."""
        print(text, flush=True)


def _mark(good: bool) -> str:  # noqa: FBT001 - it says itself what it is
    return "" if good else "  below"
