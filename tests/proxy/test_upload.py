"""Kept bodies: in memory while small, in a file beyond that, and read again from the start for every attempt."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_kong.proxy.upload import Upload

MEMORY = 100
FIXED = settings(derandomize=True, deadline=None)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def read_back(upload: Upload, size: int) -> bytes:
    """The whole body, read in steps of at most ``size``, as it is sent."""
    content = b""
    while len(content) < upload.size:
        piece = upload.read(len(content), size)
        assert piece
        content += piece
    return content


@FIXED
@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(1, 70))
def test_read_as_written(pieces: list[bytes], size: int) -> None:
    """What was written is read back, in any steps and as often as one likes."""
    upload = Upload(MEMORY)
    try:
        for piece in pieces:
            upload.write(piece)
        whole = b"".join(pieces)
        assert upload.size == len(whole)
        assert read_back(upload, size) == whole
        assert read_back(upload, size) == whole
    finally:
        upload.close()


@pytest.mark.parametrize(("size", "files"), [(0, 0), (99, 0), (100, 0), (101, 1), (100_000, 1)])
def test_where_it_is_kept(size: int, files: int) -> None:
    """A body that fits into the memory it is given opens no file, a larger one opens one, until it is closed."""
    before = open_files()
    upload = Upload(MEMORY)
    for _ in range(size // 10):
        upload.write(bytes(10))
    upload.write(bytes(size % 10))
    assert open_files() - before == files
    assert read_back(upload, 1000) == bytes(size)
    upload.close()
    assert open_files() == before


def test_no_memory_at_all() -> None:
    """With no memory given every body is a file."""
    before = open_files()
    upload = Upload(0)
    upload.write(b"x")
    assert open_files() == before + 1
    assert upload.read(0, 10) == b"x"
    upload.close()


def test_writing_goes_on_after_reading() -> None:
    """A body may grow after it has been looked at."""
    upload = Upload(MEMORY)
    for step in range(1, 60):
        upload.write(b"%d," % step)
        assert upload.read(0, 1)[:1] == b"1"
    assert read_back(upload, 7) == b"".join(b"%d," % step for step in range(1, 60))
    upload.close()


def test_closed_twice() -> None:
    """To give back what was given back does no harm."""
    upload = Upload(MEMORY)
    upload.write(bytes(1000))
    upload.close()
    upload.close()


@contextmanager
def full_disk() -> Iterator[int]:
    """No file may grow beyond the size answered: the kernel writes what still fits, then fails.

    Only for as long as a test needs it, for the limit is the whole process's: the test run's own report, sent to a
    file, would be such a file too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield 4096
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("begun", [200, 0], ids=["in the middle", "at once"])
def test_full_disk(begun: int) -> None:
    """A body of which the disk takes only a part fails; it is never taken for a whole one."""
    upload = Upload(MEMORY)
    try:
        upload.write(bytes(begun))
        with full_disk() as size, pytest.raises(OSError, match="File too large"):
            upload.write(bytes(size + 1000))
    finally:
        upload.close()
