"""What has happened, in words and figures. Pure: from results to text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted_kong.simulation.world import SLICES, Result

_BARS = "▁▂▃▄▅▆▇█"


def percentile(ordered: Sequence[float], part: float) -> float:
    """The value that ``part`` of the others do not exceed; 0 without any."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def imbalances(result: Result) -> list[float]:
    """For each slice, how much more than its share by weight the busiest target had: 1 is none. 0 without requests."""
    found = []
    for number in range(SLICES):
        middle = (number + 0.5) * result.slice
        weights = next(weights for since, weights in reversed(result.epochs) if since <= middle)
        counts = {address: shares[number] for address, shares in result.shares.items() if weights.get(address)}
        total, weight = sum(counts.values()), sum(weights.values())
        found.append(
            max((count * weight / (total * weights[one]) for one, count in counts.items() if total), default=0.0)
        )
    return found


def told(result: Result) -> str:
    """One run."""
    lines = [result.algorithm, "=" * len(result.algorithm)]
    total = sum(map(sum, result.shares.values()))
    rows: list[Sequence[str]] = [("target", "weight", "answers", "share", "attempts", "most open")]
    for address in result.weights:
        answers = sum(result.shares.get(address, ()))
        share = f"{answers / total:.2%}" if total else "–"
        most, attempts = result.most_open.get(address, 0), result.attempts.get(address, 0)
        rows.append((address, *map(str, (result.weights[address], answers, share, attempts, most))))
    lines += _aligned(rows)
    seconds = sorted(result.seconds)
    p50, p99 = (percentile(seconds, part) * 1000 for part in (0.5, 0.99))
    lines.append("")
    lines.append(f"requests {len(seconds):,}, failed {result.failed:,}, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    found = imbalances(result)
    lines.append(f"busiest over its share, by time: {_line(found)}  {min(found):.2f} to {max(found):.2f}")
    lines += [f"keys moved at {at:g} s, by {address}: {part:.2%}" for at, address, part in result.moved]
    return "\n".join(lines)


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([cell.rjust(width) if number else cell.ljust(width) for number, (cell, width) in enumerate(pairs)])
        for pairs in (zip(row, widths, strict=True) for row in rows)
    ]


def _line(values: Sequence[float]) -> str:
    """Values as a line of bars, from 1 to the highest."""
    highest = max([*values, 1.001])
    return "".join(_BARS[int(min(max(value - 1, 0) / (highest - 1), 1) * (len(_BARS) - 1))] for value in values)
