"""The Dockerfile followed without Docker: its steps, on a copy of this machine's file system that nobody else sees.

Namespaces of the kernel stand in for containers: an overlay over the root, no network but loopback, process ids of its
own, the user that the file names, a root that is read-only but for the volume. What Docker alone could show (that it
takes the file, what is in the base image) is not seen here.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from packages import ROOT

UNABLE = 77
"""The status by which the script tells that the kernel does not let us."""


class Instruction(NamedTuple):
    name: str
    arguments: str


def instructions() -> list[Instruction]:
    """Those of the Dockerfile."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [Instruction(*line.split(None, 1)) for line in lines]


def one(name: str) -> str:
    """The arguments of the last instruction of this name, which is the one that counts."""
    return [each.arguments for each in instructions() if each.name == name][-1]


def command(name: str) -> str:
    """The command that an instruction holds in its JSON form, for a shell."""
    return shlex.join(json.loads(one(name)[one(name).index("[") :]))


def _build() -> str:
    """What building the image does, for a shell in it; the context lies in /context."""
    steps = []
    for name, arguments in instructions():
        if name == "RUN":
            steps.append(arguments)
        elif name == "COPY" and not arguments.startswith("--from="):
            source, target = arguments.split()
            steps.append(f"mkdir -p {target}; cp /context/{source} {target}")
    return "\n".join(steps)


def _environment() -> str:
    """The environment and the directory that the image sets, for a shell in it."""
    pairs = [each.arguments.split("=", 1) for each in instructions() if each.name == "ENV"]
    return "\n".join([*(f'export {name}="{value}"' for name, value in pairs), f"cd {one('WORKDIR')}", ""])


SCRIPT = """
set -euo pipefail
mount --make-rprivate /
mount -t proc proc /proc
mkdir {scratch}/layers
mount -t tmpfs tmpfs {scratch}/layers
mkdir {scratch}/layers/{{upper,work,root}}
mount -t overlay overlay {scratch}/layers/root \\
  -o lowerdir=/,upperdir={scratch}/layers/upper,workdir={scratch}/layers/work || exit {unable}
ip link set lo up || exit {unable}
cd {scratch}/layers/root
mount -t proc proc proc
mount --rbind /dev dev
mkdir context
cp {wheels}/* context

# The base image has Python where everybody may run it.
for directory in {above}; do chmod a+rx ".$directory"; done
export PATH={python}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LANG=C.UTF-8
chroot . bash -euc {build} > {scratch}/built 2>&1 || {{ cat {scratch}/built; exit 1; }}
rm -rf context wheelhouse

mount -t tmpfs tmpfs .{volume}
chown {uid}:{gid} .{volume}
chmod 700 .{volume}
mount -o remount,ro .

user=(chroot . setpriv --reuid {uid} --regid {gid} --clear-groups --no-new-privs --bounding-set=-all)
: > {scratch}/log
chown {uid} {scratch}/log
unshare --pid --fork --kill-child "${{user[@]}}" bash -c {start} >> {scratch}/log 2>&1 &
holder=$!

as_image() {{ "${{user[@]}}" bash -c {environment}"$1"; }}
ready() {{
  for _ in $(seq 300); do
    if as_image {health} 2> /dev/null; then echo healthy; return; fi
    kill -0 $holder || break
    sleep 0.2
  done
  cat {scratch}/log
  return 1
}}
stop() {{
  kill -{signal} $(pgrep -P $holder)
  local status=0
  wait $holder || status=$?
  echo "ended with $status"
}}
{inside}
cat {scratch}/log
"""


def follow(wheels: Path, scratch: Path, inside: str) -> str:
    """Build the image of ``wheels``, start it, and run the script ``inside`` beside it, as root; it may call

    - ``ready``: wait until the health check succeeds;
    - ``as_image COMMAND``: a command in the image, as its user;
    - ``stop``: send the signal by which the image is stopped, wait for the end, tell the status.

    What is printed, the log of the gateway last. Skips the test where the kernel does not let us.
    """
    if os.geteuid() or any(shutil.which(name) is None for name in ("unshare", "setpriv", "ip")):
        pytest.skip("following the Dockerfile takes root, and the commands unshare, setpriv and ip")
    uid, gid = one("USER").split(":")
    prefix = Path(sys.base_prefix)
    script = SCRIPT.format(
        scratch=scratch,
        wheels=wheels,
        unable=UNABLE,
        above=shlex.join(map(str, [prefix, *prefix.parents])),
        python=prefix / "bin",
        build=shlex.quote(_build()),
        volume=one("VOLUME"),
        uid=uid,
        gid=gid,
        environment=shlex.quote(_environment()),
        start=shlex.quote(f"{_environment()}exec {command('ENTRYPOINT')} --proxy-listen 127.0.0.1:8000"),
        health=shlex.quote(command("HEALTHCHECK")),
        signal=one("STOPSIGNAL").removeprefix("SIG"),
        inside=inside,
    )
    (scratch / "script").write_text(script)
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", str(scratch / "script")],
        cwd=scratch,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
    )
    if done.returncode == UNABLE or "unshare failed" in done.stderr:
        pytest.skip(f"the kernel does not let us follow the Dockerfile: {done.stderr.strip()}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
