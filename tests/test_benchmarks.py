"""The arithmetic of the benchmark: what the kernel and wrk tell, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import accounting, load, table
from benchmarks.accounting import Times
from benchmarks.load import Report
from benchmarks.measure import Memory, Sample


def process(proc: Path, pid: int, parent: int, threads: dict[int, int], resident: int = 0) -> None:
    """A process in the directory ``proc``: its ``threads`` with nanoseconds on a processor, kB ``resident``."""
    home = proc / str(pid)
    home.mkdir()
    (home / "stat").write_text(f"{pid} (worker (1)) S {parent} {pid} 1 0 -1 4194560 0 0\n")
    (home / "smaps_rollup").write_text(f"5581 [rollup]\nRss:       {resident} kB\nPss:       1 kB\n")
    for thread, nanoseconds in threads.items():
        (home / "task" / str(thread)).mkdir(parents=True)
        (home / "task" / str(thread) / "schedstat").write_text(f"{nanoseconds} 7 165\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with the family 10 → 11 → 12 and a stranger, 20."""
    process(tmp_path, 12, 11, {12: 400})
    process(tmp_path, 11, 10, {11: 20, 13: 3}, resident=8)
    process(tmp_path, 10, 1, {10: 5000}, resident=100)
    process(tmp_path, 20, 1, {20: 10**9}, resident=10**6)
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    return tmp_path


def sample(cpu: float, requests: int = 1000, failures: dict[str, int] | None = None, waited: float = 0) -> Sample:
    """A sample of one second with ``cpu`` seconds on the processor and ``waited`` seconds waiting for it."""
    return Sample(Report(requests, 1.0, 0.001, 0.002, failures or {}), cpu, waited, 1.0)


class TestAccounting:
    def test_counts_every_thread_of_the_family_and_nobody_else(self, proc: Path) -> None:
        """The processor time of a process is that of its threads and of all its descendants' threads."""
        assert accounting.processor_times(10, proc) == {10: (5000, 7), 11: (20, 7), 13: (3, 7), 12: (400, 7)}

    def test_memory_of_the_family(self, proc: Path) -> None:
        """Resident memory is summed over the same processes, in bytes."""
        assert accounting.resident(10, proc) == 108 * 1024

    def test_a_process_that_has_ended_is_an_error(self, proc: Path) -> None:
        """Without a process there is no figure, and not a figure of zero."""
        with pytest.raises(RuntimeError, match="/99/task"):
            accounting.processor_times(99, proc)

    def test_threads_that_come_and_go(self) -> None:
        """A thread that started in between counts whole, one that ended counts for nothing."""
        before = {1: Times(100, 0), 2: Times(50, 9)}
        after = {1: Times(1_000_000_100, 0), 3: Times(500_000_000, 250_000_000)}
        assert accounting.spent(before, after) == (1.5, 0.25)

    @given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=15), st.integers(0, 2**22))
    def test_no_name_of_a_program_hides_its_parent(self, name: str, parent: int) -> None:
        """The parent is found whatever blanks and parentheses the program's name holds."""
        assert accounting.parent_of(f"77 ({name}) R {parent} 77 77 0 -1") == parent


class TestReport:
    def output(self, *, requests: int = 100, size: int = 30_000, **failures: int) -> str:
        """What wrk prints, its own text first."""
        kinds = dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0) | failures
        told = {"requests": requests, "microseconds": 1_500_000, "bytes": size, "p50": 820, "p99": 4100}
        return f"Running 1s test\n  100 requests in 1.50s\n{json.dumps(told | {'failures': kinds})}\n"

    def test_a_good_run(self) -> None:
        """Microseconds become seconds, and kinds of failures that did not happen are left out."""
        assert load.parse(self.output(), 128) == Report(100, 1.5, 0.00082, 0.0041, {})

    def test_failures_are_kept_by_kind(self) -> None:
        """Refused statuses and broken sockets are told apart."""
        assert load.parse(self.output(status=7, read=2), 128).failures == {"status": 7, "read": 2}

    def test_answers_that_are_too_short_fail(self) -> None:
        """Fewer bytes than the bodies alone would have is a failure, though wrk sees none."""
        assert load.parse(self.output(), 300).failures == {}
        assert load.parse(self.output(), 301).failures == {"short": 1}

    def test_no_answer_at_all_fails(self) -> None:
        """A server that says nothing within the time has failed."""
        assert load.parse(self.output(requests=0, size=0), 128).failures == {"unanswered": 1}

    def test_output_without_the_result(self) -> None:
        """wrk dying early is an error that shows what it said."""
        with pytest.raises(ValueError, match="unable to connect"):
            load.parse("unable to connect to 127.0.0.1:1\n", 128)


class TestTable:
    def test_ratios_are_taken_within_a_round(self) -> None:
        """A round in which the whole machine was slow changes costs but not ratios."""
        rounds = {"nginx": [sample(0.01), sample(0.04), sample(0.02)], "x": [sample(0.02), sample(0.08), sample(0.06)]}
        found = table.figures(rounds)["x"]
        assert found.cost == pytest.approx(60)
        assert found.ratios == pytest.approx([2, 2, 3])

    def test_no_ratio_without_the_baseline(self) -> None:
        """Without nginx the other figures stand and the ratio is a dash."""
        found = table.figures({"x": [sample(0.02)]})
        assert found["x"].ratios == []
        assert table.workload_table(found).splitlines()[2] == (
            "| x   |           20.0 |       – |      1,000 |        2% |   1.00 |   2.00 |"
        )

    def test_one_failing_round_marks_the_row(self) -> None:
        """Failures are summed, and shown at the row and below the table."""
        rounds = [sample(0.02), sample(0.02, failures={"read": 2}), sample(0.02, failures={"read": 1, "status": 4})]
        text = table.workload_table(table.figures({"nginx": rounds}))
        assert "| nginx FAILED |" in text
        assert text.splitlines()[-1] == "FAILED: nginx: 3 read, 4 status"

    def test_says_who_had_to_share_the_core(self) -> None:
        """A server that waited for its core more than now and then is named below the table."""
        text = table.workload_table(
            table.figures({"nginx": [sample(0.5, waited=0.04)], "x": [sample(0.5, waited=0.4)]})
        )
        assert text.splitlines()[-1].endswith("had the core: x 40%")

    def test_a_server_that_never_answered_is_still_shown(self) -> None:
        """Nothing is divided by zero requests."""
        text = table.workload_table(table.figures({"nginx": [sample(0.02)], "x": [sample(0.02, 0, {"unanswered": 1})]}))
        assert "| x FAILED |            nan |" in text

    def test_bounds_of_the_gateway(self) -> None:
        """The median ratio and the p99 are compared with what they may be."""
        found = table.figures({"nginx": [sample(0.01)] * 3, "gateway": [sample(0.02), sample(0.03), sample(0.09)]})
        kept, late = table.verdicts(found, 3.01, 1.5)
        assert kept.found == pytest.approx(3)
        assert not kept.missed
        assert late.found == pytest.approx(2)
        assert late.missed
        assert str(late) == "Bound: gateway's p99 at most 1.50 × nginx's p50: 2.00 × nginx's p50 MISSED"
        assert [each.missed for each in table.verdicts(found, 2.9, None)] == [True]

    def test_no_bounds_without_something_to_compare(self) -> None:
        """Without nginx, or without the gateway, nothing is promised; and who never answered has kept nothing."""
        assert table.verdicts(table.figures({"gateway": [sample(0.02)]}), 2.0, 4.0) == []
        assert table.verdicts(table.figures({"nginx": [sample(0.02)]}), 2.0, 4.0) == []
        silent = {"nginx": [sample(0.02)], "gateway": [sample(0.02, 0, {"unanswered": 1})]}
        assert table.verdicts(table.figures(silent), 2.0, None)[0].missed

    def test_memory_is_bounded(self) -> None:
        """What counts is the whole gateway with its connections."""
        memory = {"gateway": Memory(before=0, after=101 << 20, open=1000, wanted=1000)}
        assert [each.missed for each in table.memory_verdict(memory)] == [True]
        assert table.memory_verdict({}) == []

    def test_memory_is_told_only_of_connections_that_stayed_open(self) -> None:
        """Closing them all is a habit, closing some is a failure; neither has a cost per connection."""
        found = {
            "nginx": Memory(before=0, after=1024_000, open=1000, wanted=1000),
            "x": Memory(before=0, after=4096_000, open=1000, wanted=1000),
            "none": Memory(before=0, after=0, open=0, wanted=1000),
            "some": Memory(before=0, after=0, open=990, wanted=1000),
        }
        cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.memory_table(found).splitlines()[2:]]
        assert cells == [
            ["nginx", "1.00", "1.00"],
            ["x", "4.00", "4.00"],
            ["none (closes after every answer)", "–", "–"],
            ["some (FAILED: kept 990 open)", "–", "–"],
        ]
