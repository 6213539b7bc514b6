"""Curves as SVG, by a few lines: panels below each other, each with axes and a line a run; one legend."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

WIDTH, PANEL = 860, 300
LEFT, RIGHT, TOP, BOTTOM, LEGEND = 70, 20, 40, 40, 40
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df")
STEPS = (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)

Points = Sequence[tuple[float, float]]


class Panel(NamedTuple):
    """One measure over time: a line of (seconds, value) for each run."""

    title: str
    lines: Sequence[Points]


def draw(names: Sequence[str], panels: Sequence[Panel], shaded: tuple[float, float] | None = None) -> str:
    """Draw the runs of these names, from zero; `shaded` are the seconds between which the ground is darker."""
    height = LEGEND + PANEL * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *(_name(name, number) for number, name in enumerate(names)),
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate(0,{LEGEND + PANEL * number})">', *_panel(panel, shaded), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, shaded: tuple[float, float] | None) -> Iterator[str]:
    last = max(at for points in panel.lines for at, _ in points)
    top = _rounded(max(value for points in panel.lines for _, value in points))
    if shaded is not None:
        left, right = (_x(at, last) for at in shaded)
        size = f'width="{right - left:.1f}" height="{PANEL - TOP - BOTTOM}"'
        yield f'<rect x="{left:.1f}" y="{TOP}" {size} fill="#f6e8d8"/>'
    yield f'<text x="{LEFT}" y="{TOP - 12}" font-weight="bold">{escape(panel.title)}</text>'
    yield from _axes(last, top)
    for number, points in enumerate(panel.lines):
        line = " ".join(f"{_x(at, last):.1f},{_y(value, top):.1f}" for at, value in points)
        yield f'<polyline points="{line}" fill="none" stroke="{COLOURS[number]}" stroke-width="2"/>'


def _axes(last: float, top: float) -> Iterator[str]:
    for part in range(5):
        value = top * part / 4
        y = _y(value, top)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#d0d7de"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.0f}</text>'
    for minute in range(int(last // 60) + 1):
        yield f'<text x="{_x(60 * minute, last):.1f}" y="{PANEL - BOTTOM + 20}" text-anchor="middle">{minute} min</text>'


def _name(name: str, number: int) -> str:
    x = LEFT + 250 * number
    return (
        f'<line x1="{x}" y1="24" x2="{x + 24}" y2="24" stroke="{COLOURS[number]}" stroke-width="3"/>'
        f'<text x="{x + 30}" y="28">{escape(name)}</text>'
    )


def _x(at: float, last: float) -> float:
    return LEFT + at / last * (WIDTH - LEFT - RIGHT)


def _y(value: float, top: float) -> float:
    return PANEL - BOTTOM - value / top * (PANEL - TOP - BOTTOM)


def _rounded(value: float) -> float:
    """Give the next higher number that reads well on an axis of four steps."""
    size = 1.0
    while size * STEPS[-1] * 4 < value:
        size *= 10
    return next(4 * size * step for step in STEPS if 4 * size * step >= value)
