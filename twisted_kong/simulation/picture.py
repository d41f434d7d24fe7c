"""Shares over time as an SVG picture. Pure: from results to text, without a library, for it is only areas and words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from twisted_kong.simulation.world import SLICES, Result

WIDTH, HEIGHT, LEFT, TOP, GAP = 720, 200, 60, 40, 50
_COLOURS = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#bbbbbb",
    "#222255",
    "#997700",
)


def picture(results: Sequence[Result]) -> str:
    """One chart for each result, below one another: the share of every target, stacked."""
    names = list(dict.fromkeys(name for result in results for name in result.weights))
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    height = TOP + len(results) * (HEIGHT + GAP)
    width = LEFT + WIDTH + 200
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, result in enumerate(results):
        parts += _chart(result, colours, TOP + number * (HEIGHT + GAP))
    for number, (name, colour) in enumerate(colours.items()):
        y = TOP + number * 18
        parts.append(f'<rect x="{LEFT + WIDTH + 20}" y="{y}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + WIDTH + 38}" y="{y + 10}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _chart(result: Result, colours: dict[str, str], top: int) -> list[str]:
    """The areas of one result, its name and its axes."""
    parts = [f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(result.algorithm)}</text>']
    totals = [sum(shares[number] for shares in result.shares.values()) or 1 for number in range(SLICES)]
    below = [0.0] * SLICES
    for name, colour in colours.items():
        shares = result.shares.get(name)
        if shares is None:
            continue
        above = [low + count / total for low, count, total in zip(below, shares, totals, strict=True)]
        edge = [*_points(above, top), *reversed(_points(below, top))]
        parts.append(f'<polygon fill="{colour}" points="{" ".join(edge)}"><title>{escape(name)}</title></polygon>')
        below = above
    for part in (0, 50, 100):
        y = top + HEIGHT * (100 - part) / 100
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:g}" text-anchor="end">{part} %</text>')
    for part in range(0, 101, 25):
        seconds = result.slice * SLICES * part / 100
        parts.append(
            f'<text x="{LEFT + WIDTH * part / 100:g}" y="{top + HEIGHT + 16}" text-anchor="middle">{seconds:g} s</text>'
        )
    return parts


def _points(values: Sequence[float], top: int) -> list[str]:
    step = WIDTH / (SLICES - 1)
    return [f"{LEFT + step * number:.1f},{top + HEIGHT * (1 - value):.1f}" for number, value in enumerate(values)]
