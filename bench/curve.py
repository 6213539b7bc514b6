"""Curves as SVG, by a few lines: axes, a line each, a legend."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 60, 50
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df")
STEPS = (1, 2, 5, 10)


class Line(NamedTuple):
    """A curve of points (seconds, value)."""

    name: str
    points: Sequence[tuple[float, float]]


def draw(lines: Sequence[Line], what: str, shaded: tuple[float, float] | None = None) -> str:
    """Draw the lines over time, from zero; `shaded` are the seconds between which the ground is darker."""
    last = max(at for line in lines for at, _ in line.points)
    top = _rounded(max(value for line in lines for _, value in line.points))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    if shaded is not None:
        left, right = (_x(at, last) for at in shaded)
        parts.append(
            f'<rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}" fill="#f3e3d3"/>'
        )
    parts += [*_axes(last, top, what), *(_curve(line, n, last, top) for n, line in enumerate(lines))]
    return "\n".join([*parts, *(_name(line, n) for n, line in enumerate(lines)), "</svg>\n"])


def _axes(last: float, top: float, what: str) -> list[str]:
    parts = [f'<text x="{LEFT}" y="20" font-weight="bold">{escape(what)}</text>']
    for part in range(5):
        value = top * part / 4
        y = _y(value, top)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.0f}</text>')
    for minute in range(int(last // 60) + 1):
        x = _x(60 * minute, last)
        parts.append(
            f'<line x1="{x:.1f}" y1="{HEIGHT - BOTTOM}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM + 5}" stroke="#57606a"/>'
        )
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{minute} min</text>')
    return parts


def _curve(line: Line, number: int, last: float, top: float) -> str:
    points = " ".join(f"{_x(at, last):.1f},{_y(value, top):.1f}" for at, value in line.points)
    return f'<polyline points="{points}" fill="none" stroke="{COLOURS[number]}" stroke-width="2"/>'


def _name(line: Line, number: int) -> str:
    x = LEFT + 240 * number
    return (
        f'<line x1="{x}" y1="40" x2="{x + 24}" y2="40" stroke="{COLOURS[number]}" stroke-width="3"/>'
        f'<text x="{x + 30}" y="44">{escape(line.name)}</text>'
    )


def _x(at: float, last: float) -> float:
    return LEFT + at / last * (WIDTH - LEFT - RIGHT)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)


def _rounded(value: float) -> float:
    """Give the next higher number that reads well on an axis of four steps."""
    size = 1.0
    while size * STEPS[-1] * 4 < value:
        size *= 10
    return next(4 * size * step for step in STEPS if 4 * size * step >= value)
