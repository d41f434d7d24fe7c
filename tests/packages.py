"""Virtual environments that borrow what they need: nothing is downloaded into them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Environment:
    """A virtual environment that has our dependencies, lent by the one the tests run in, but not ourselves."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.python = where / "bin" / "python"
        venv.create(where, symlinks=True, with_pip=False)
        # Of a directory that a .pth file adds, the .pth files count for nothing: an editable install stays where it is.
        (site,) = where.glob("lib/python*/site-packages")
        (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def lend_checkout(self) -> None:
        """Have the checkout itself, as after ``pip install -e``, and the commands that this installs."""
        (site,) = self.where.glob("lib/python*/site-packages")
        (site / "checkout.pth").write_text(f"{ROOT}\n")
        self._command("kong-gateway", f"'{self.python}' -m twisted_kong.command")
        self._command("twistd", f"'{self.python}' -c 'from twisted.scripts.twistd import run; run()'")
        self._command("curl", f"'{self.python}' '{ROOT}/tests/curl.py'")
        pip = f"'{sys.executable}' -m pip --python '{self.python}'"
        offline = "--quiet --no-index --no-deps --no-build-isolation"
        self._command("pip", f'{pip} "$1" {offline} "${{@:2}}"', "")

    def _command(self, name: str, what: str, arguments: str = '"$@"') -> None:
        file = self.where / "bin" / name
        file.write_text(f"#!/usr/bin/env bash\nexec {what} {arguments}\n")
        file.chmod(0o755)

    def install(self, *what: str | Path) -> None:
        """Install without a look at the network."""
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-index", "--no-deps")
        run(*pip, "--no-build-isolation", *what, cwd=self.where)

    def twistd(self, *arguments: str) -> str:
        """What ``twistd`` prints."""
        start = "from twisted.scripts.twistd import run; run()"
        return run(self.python, "-c", start, *arguments, cwd=self.where)

    def accelerated(self) -> bool:
        """Whether the proxy does in C what can be done in C."""
        code = "from twisted_kong.proxy.accelerator import ACCELERATED; print(ACCELERATED)"
        return run(self.python, "-c", code, cwd=self.where) == "True"

    def origin(self) -> Path:
        """Where ``twisted_kong`` is imported from."""
        return Path(run(self.python, "-c", "import twisted_kong; print(twisted_kong.__path__[0])", cwd=self.where))


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What ``command`` prints, without the blanks around it; it must succeed. ``environment`` is added to ours."""
    ours = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    environ = {**ours, **environment}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()
