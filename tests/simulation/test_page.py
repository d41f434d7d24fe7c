"""docs/simulator.md: its files and its command do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"


def test_the_run(tmp_path: Path) -> None:
    """The run of the page ends well, tells of every target under every algorithm, and draws a picture."""
    text = PAGE.read_text()
    for name, content in re.findall(r"^```yaml file=(\S+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(content)
    (command,) = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    script = f"kong-gateway() {{ '{Path(sys.executable).with_name('kong-gateway')}' \"$@\"; }}\n{command}"
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("10.0.0.4:8000  ") == 3
    assert "keys moved at 300 s, by 10.0.0.4:8000: 2" in done.stdout
    assert (tmp_path / "shares.svg").read_text().startswith("<svg")
