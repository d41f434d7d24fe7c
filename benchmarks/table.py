"""From samples to medians, ratios and the tables a person reads. Pure: it is given everything, and prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measure import Memory, Sample

BASELINE = "nginx"
GATEWAY = "gateway"
RESIDENT = 100.0  # MiB that one worker of the gateway may have
DISTURBED = 0.05  # of the time; what is waited longer for the core makes latency and rate those of the machine

Rounds = Mapping[str, Sequence[Sample]]  # by server, one sample a round


@dataclass(frozen=True)
class Figures:
    """One server's medians over the rounds of a workload.

    ``cost`` in microseconds of processor a request, ``rate`` in requests a second, ``busy`` and ``waited`` the shares
    of the time in which it had its core and in which it waited for it, ``p50`` and ``p99`` in milliseconds. Not
    medians are ``ratios``, the cost in units of the baseline's in the same round, one for each round and empty
    without a baseline, and ``failures``, summed over the rounds.
    """

    cost: float
    ratios: list[float]
    rate: float
    busy: float
    waited: float
    p50: float
    p99: float
    failures: dict[str, int]


def figures(rounds: Rounds) -> dict[str, Figures]:
    """The figures of every server in ``rounds``."""
    baseline = rounds.get(BASELINE)
    return {
        server: Figures(
            cost=median(each.cost for each in samples),
            ratios=[] if baseline is None else ratios(samples, baseline),
            rate=median(each.report.requests / each.report.seconds for each in samples),
            busy=median(each.cpu / each.wall for each in samples),
            waited=median(each.waited / each.wall for each in samples),
            p50=median(each.report.p50 * 1e3 for each in samples),
            p99=median(each.report.p99 * 1e3 for each in samples),
            failures=total(each.report.failures for each in samples),
        )
        for server, samples in rounds.items()
    }


def ratios(samples: Sequence[Sample], baseline: Sequence[Sample]) -> list[float]:
    """Round by round, the cost in units of the baseline's cost."""
    return [each.cost / base.cost for each, base in zip(samples, baseline, strict=True)]


def workload_table(found: Mapping[str, Figures]) -> str:
    """A Markdown table of one workload, and below it who failed how, and who had to share its core with strangers."""
    rows = [["", "CPU µs/request", f"× {BASELINE}", "requests/s", "core busy", "p50 ms", "p99 ms"]]
    for server, each in found.items():
        name = f"{server} FAILED" if each.failures else server
        times = [f"{each.cost:.1f}", spread_text(each.ratios), f"{each.rate:,.0f}", f"{each.busy:.0%}"]
        rows.append([name, *times, f"{each.p50:.2f}", f"{each.p99:.2f}"])
    failed = [f"FAILED: {server}: {failure_text(each.failures)}" for server, each in found.items() if each.failures]
    waited = [f"{server} {each.waited:.0%}" for server, each in found.items() if each.waited > DISTURBED]
    disturbed = [f"Disturbed: time spent waiting while other programs had the core: {', '.join(waited)}"]
    remarks = [*failed, *(disturbed if waited else [])]
    return "\n".join([aligned(rows), *([""] if remarks else []), *remarks])


@dataclass(frozen=True)
class Verdict:
    """A bound, and what it bounds: ``what`` is ``found``, and may be ``bound``."""

    what: str
    found: float
    bound: float
    unit: str

    @property
    def missed(self) -> bool:
        """Whether it is more than it may be."""
        return not self.found <= self.bound

    def __str__(self) -> str:
        missed = " MISSED" * self.missed
        return f"Bound: {self.what} at most {self.bound:.2f}{self.unit}: {self.found:.2f}{self.unit}{missed}"


def verdicts(found: Mapping[str, Figures], bound: float | None, late: float | None) -> list[Verdict]:
    """What the gateway may cost in units of the baseline's cost, and how ``late`` its p99 may be in those of the
    baseline's p50; nothing without both servers."""
    if GATEWAY not in found or BASELINE not in found:
        return []
    gateway, baseline = found[GATEWAY], found[BASELINE]
    told = [] if bound is None else [Verdict(f"{GATEWAY}'s CPU", median(gateway.ratios), bound, f" × {BASELINE}'s")]
    if late is not None:
        told.append(Verdict(f"{GATEWAY}'s p99", gateway.p99 / baseline.p50, late, f" × {BASELINE}'s p50"))
    return told


def memory_verdict(found: Mapping[str, Memory]) -> list[Verdict]:
    """How much memory the gateway may have with all the idle connections."""
    if GATEWAY not in found:
        return []
    return [Verdict(f"{GATEWAY}'s resident memory", found[GATEWAY].after / 2**20, RESIDENT, " MiB")]


def memory_table(found: Mapping[str, Memory]) -> str:
    """A Markdown table of the memory of idle connections; a server that closed some is marked."""
    base = found[BASELINE].per_connection if BASELINE in found else None
    rows = [["", "KiB/connection", f"× {BASELINE}", "MiB before", "MiB after"]]
    for server, each in found.items():
        sizes = [f"{each.before / 2**20:.1f}", f"{each.after / 2**20:.1f}"]
        if each.open == each.wanted:
            times = f"{each.per_connection / base:.2f}" if base else "–"
            rows.append([server, f"{each.per_connection / 1024:.2f}", times, *sizes])
        else:
            note = f"FAILED: kept {each.open} open" if each.failed else "closes after every answer"
            rows.append([f"{server} ({note})", "–", "–", *sizes])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first row the heading, as a Markdown table: first column to the left, others to the right."""
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(rows[0]), line(rule), *(line(row) for row in rows[1:])])


def spread_text(values: Sequence[float]) -> str:
    """The median, and from where to where the values go when there are several."""
    if not values:
        return "–"
    spread = f" ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else ""
    return f"{median(values):.2f}{spread}"


def failure_text(failures: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(failures.items()))


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of several counts by kind."""
    sums: Counter[str] = Counter()
    for each in counts:
        sums.update(each)
    return dict(sums)
