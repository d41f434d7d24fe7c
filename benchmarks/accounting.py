"""Processor time and memory of a process and all its descendants, as the kernel counts them.

``/proc/PID/stat`` counts processor time in ticks of 10 ms; ``/proc/PID/task/TID/schedstat`` counts it in
nanoseconds, for each thread, and is what is read here (proc(5); a kernel with CONFIG_SCHED_INFO).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Times(NamedTuple):
    """Nanoseconds a thread has spent on a processor, and ready to run but waiting for one."""

    running: int
    waiting: int


def processor_times(pid: int, proc: Path = PROC) -> dict[int, Times]:
    """The times so far of each thread of the process ``pid`` and its descendants."""
    times = {}
    for member in family(pid, proc):
        for task in _entries(proc / str(member) / "task"):
            text = _read(task / "schedstat")
            if text:
                times[int(task.name)] = thread_times(text)
    if not times:
        raise RuntimeError(f"{proc}/{pid}/task has no schedstat: the process has ended, or the kernel keeps none")
    return times


def spent(before: Mapping[int, Times], after: Mapping[int, Times]) -> tuple[float, float]:
    """Seconds on a processor and waiting for one, of all threads between two readings of `processor_times`.

    A thread that started in between counts whole; what one that ended in between had used is lost.
    """
    none = Times(0, 0)
    running = sum(times.running - before.get(thread, none).running for thread, times in after.items())
    waiting = sum(times.waiting - before.get(thread, none).waiting for thread, times in after.items())
    return running / 1e9, waiting / 1e9


def resident(pid: int, proc: Path = PROC) -> int:
    """Bytes of memory resident now in the process ``pid`` and its descendants.

    From smaps_rollup, which walks the page tables; the counters in status and statm lag behind.
    """
    return sum(resident_size(_read(proc / str(member) / "smaps_rollup")) for member in family(pid, proc))


def family(pid: int, proc: Path = PROC) -> list[int]:
    """``pid`` and the processes that descend from it, parents first."""
    parents = {
        int(entry.name): parent_of(text)
        for entry in _entries(proc)
        if entry.name.isdecimal() and (text := _read(entry / "stat"))
    }
    members = [pid]
    for member in members:  # grows while it is walked
        members += sorted(child for child, parent in parents.items() if parent == member)
    return members


def thread_times(schedstat: str) -> Times:
    """The first two numbers of a schedstat."""
    running, waiting, _ = schedstat.split()
    return Times(int(running), int(waiting))


def parent_of(stat: str) -> int:
    """The parent's pid in a ``/proc/PID/stat``; the program's name before it may hold blanks and parentheses."""
    return int(stat.rpartition(")")[2].split()[1])


def resident_size(smaps_rollup: str) -> int:
    """Bytes in the Rss line of a smaps_rollup; 0 without one, as for a process that is just ending."""
    found = re.search(r"^Rss:\s+(\d+) kB$", smaps_rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def _read(path: Path) -> str:
    """The text of a file of /proc; empty when its process has ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
