"""A bar that shows how far it is, on a terminal and nowhere else."""

from __future__ import annotations

from typing import TextIO

WIDTH = 40


class Bar:
    """Writes to ``stream`` over the same line again and again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None
        self._shown = -1

    def __call__(self, part: float) -> None:
        """So much is done, of 1."""
        percent = int(part * 100)
        if self._stream is None or percent == self._shown:
            return
        self._shown = percent
        done = int(part * WIDTH)
        end = "\n" if percent >= 100 else ""
        self._stream.write(f"\r[{'#' * done}{'.' * (WIDTH - done)}] {percent:3d} %{end}")
        self._stream.flush()
