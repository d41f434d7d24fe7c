"""Fuzzes one target with atheris, guided by what of the gateway's code an input reaches: ``run.py TARGET RUNS``.

Interesting inputs are kept below ``.run/fuzzing/TARGET``; ``run.py TARGET RUNS -merge=1 …`` and all other options are
libFuzzer's. An input that breaks a property is written to a file ``crash-…``: once the fault is mended, it belongs into
the corpus.
"""

from __future__ import annotations

import atexit
import signal
import sys
from importlib import import_module
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # no part of .venv, see requirements.txt

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSTRUMENTED = [
    "twisted_kong.proxy",
    "twisted_kong.resolving",
    "twisted_kong.routing",
    "dns.message",
    "dns.wire",
    "dns.name",
]


def main(target: str, runs: str, *options: str) -> None:
    """Give up at the first fault."""
    sys.path[:0] = [str(HERE), str(HERE.parent / "proxy")]
    with atheris.instrument_imports(include=INSTRUMENTED):
        import twisted_kong.service  # noqa: F401  all that the targets are about

    execute = import_module(target).Target()
    found = ROOT / ".run" / "fuzzing" / target
    found.mkdir(parents=True, exist_ok=True)
    dictionary = HERE / f"{target.partition('_')[0]}.dict"
    arguments = [f"-atheris_runs={runs}", "-max_len=600", "-timeout=20", f"-artifact_prefix={found.parent}/"]
    if dictionary.exists():
        arguments.append(f"-dict={dictionary}")
    atheris.Setup([target, *arguments, *options, str(found), str(HERE / "corpus" / target)], execute)
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)  # or its alarm may go off amid the end
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
