"""``python -m benchmarks``: the command line, and what is printed when (README.md)."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, probes, scale, table
from benchmarks.campaign import Campaign, Plan, Results, running
from benchmarks.large import Size
from benchmarks.load import VARIANTS, WORKLOADS, Workload
from benchmarks.programs import ProgramError, find
from benchmarks.servers import SERVERS

OPEN_FILES = 8192  # HAProxy keeps two for each of its 2,048 connections, and some
QUICK = Plan(rounds=1, idle=200, turns=3)


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when every answer was right and cost no more than it may, 1 when one did not, 2 when a program is missing
    or does not start."""
    options = parser().parse_args(arguments)
    # The default action of SIGTERM would leave everything started behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(OPEN_FILES, hard)), hard))
    try:
        results = run(QUICK if options.quick else Plan(), options.only)
    except ProgramError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if options.json is not None:
        options.json.write_text(json.dumps(document(results), indent=1) + "\n")
    return 1 if results.failed else 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The gateway beside other servers.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample and figure to FILE")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SERVERS,
        default=list(SERVERS),
        metavar="NAME",
        help=f"only these servers: {', '.join(SERVERS)}",
    )
    parser.add_argument("--quick", action="store_true", help="one round of everything: does it work, not what it costs")
    return parser


def run(plan: Plan, names: Sequence[str]) -> Results:
    """Measure the servers ``names`` and print each table once it is complete."""
    find("wrk")
    print(", ".join(f"{name} {value}" for name, value in machine.description().items()))
    with running(names) as servers:
        campaign = Campaign(servers, plan)
        campaign.measure_memory()
        campaign.warm_up()
        for workload in WORKLOADS:
            campaign.measure_workload(workload)
            show_workload(workload, campaign.results)
        show(f"Memory of {plan.idle:,} idle connections", table.memory_table(campaign.results.memory))
        judge(table.memory_verdict(campaign.results.memory), campaign.results)
    for workload in VARIANTS:
        campaign.measure_variant(workload, names)
        show_workload(workload, campaign.results)
    if "gateway" in names:
        campaign.results.scale = report = scale.run(Size(), plan.turns)
        show(f"At scale: {report.title}", report.text())
        campaign.results.probes = cost = probes.measure()
        show("Health probes", cost.text())
    return campaign.results


def show_workload(workload: Workload, results: Results) -> None:
    """The table of one workload, and how it compares with what was promised."""
    found = table.figures(results.samples[workload.name])
    show(f"{workload.title}, {workload.connections} connections", table.workload_table(found))
    for server, why in results.wrong[workload.name].items():
        print(f"FAILED: {server}: {why}")
    judge(table.verdicts(found, workload.bound, workload.late), results)


def judge(verdicts: Sequence[table.Verdict], results: Results) -> None:
    """Tell which bounds are kept, and keep that."""
    results.verdicts += verdicts
    print("".join(f"\n{verdict}" for verdict in verdicts), flush=True)


def show(title: str, text: str) -> None:
    """One titled table in Markdown, at once."""
    print(f"\n### {title[0].upper()}{title[1:]}\n\n{text}", flush=True)


def document(results: Results) -> dict[str, Any]:
    """What ``--json`` writes: the samples as measured, and the medians of the tables."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.description(),
        "figures": {
            workload: {server: dataclasses.asdict(each) for server, each in table.figures(rounds).items()}
            for workload, rounds in results.samples.items()
        },
        **dataclasses.asdict(dataclasses.replace(results, scale=None)),
        "scale": None if results.scale is None else results.scale.document(),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
