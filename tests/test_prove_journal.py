from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.errors import StorageError
from lab.prove.journal import Journal, opened_journal
from lab.prove.result import CaseResult, ChunkResult
from lab.prove.rule import Verdict

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a small tmpfs; the test is skipped where that is not allowed."""
    folder = tmp_path / "small disk"
    folder.mkdir()

    def mounted(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
        return folder

    yield mounted
    subprocess.run(["umount", str(folder)], capture_output=True)


def result(op: str = "mm", *, note: str = "") -> ChunkResult:
    cases = (
        CaseResult(f"{op}//float32/permuted/dense/all/small/0", Verdict.CRASH, math.inf, note=note),
        CaseResult(f"{op}//float32/strided/dense/all/small/0", Verdict.PASS, 0.123, 23.5, 1, "× é 🙂 \n \u2028"),
    )
    return ChunkResult(op, "", "float32", 5, cases)


def test_a_finished_chunk_comes_back_as_it_was(tmp_path: Path) -> None:
    path, results = tmp_path / "journal", [result("mm"), result("bmm")]
    journal = Journal(path)
    for one in results:
        journal.add(one)
    assert list(journal.finished.values()) == results
    assert Journal(path).finished == {"mm//float32": results[0], "bmm//float32": results[1]}


def test_every_verdict_comes_back(tmp_path: Path) -> None:
    cases = tuple(CaseResult(str(verdict), verdict, 0.5, 7.0, 2, "note") for verdict in Verdict)
    every = ChunkResult("mm", "first", "float16", 8, cases)
    Journal(tmp_path / "journal").add(every)
    assert Journal(tmp_path / "journal").finished == {"mm/first/float16": every}


@pytest.mark.parametrize("left", [0.01, 0.5, 0.99])
def test_a_last_line_that_was_cut_is_left_out(tmp_path: Path, left: float) -> None:
    path = tmp_path / "journal"
    Journal(path).add(result("mm"))
    first = path.stat().st_size
    Journal(path).add(result("bmm"))
    os.truncate(path, first + max(1, int(left * (path.stat().st_size - first))))
    assert Journal(path).finished == {"mm//float32": result("mm")}


def test_what_is_added_after_a_cut_line_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal(path).add(result("mm"))
    path.write_bytes(path.read_bytes()[:-20])
    for op in ("bmm", "mv"):
        Journal(path).add(result(op))
    assert list(Journal(path).finished) == ["bmm//float32", "mv//float32"]


@pytest.mark.parametrize("line", ["3", "[]", "{}", '{"op": "mm"}', "null", '{"op": "m", "cases": [[1]]}', "\x00\x00"])
def test_a_line_of_another_kind_is_left_out(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal"
    path.write_text(line + "\n")
    Journal(path).add(result("mm"))
    assert list(Journal(path).finished) == ["mm//float32"]


def test_a_removed_journal_is_gone_and_may_be_removed_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(result())
    journal.remove()
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_stopped_is_found_by_its_key_alone(tmp_path: Path) -> None:
    with opened_journal(tmp_path, "key") as journal:
        journal.add(result())
    with opened_journal(tmp_path, "other") as journal:
        assert journal.finished == {}
    with opened_journal(tmp_path, "key") as journal:
        assert journal.finished == {"mm//float32": result()}
        journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_two_runs_at_once_have_two_journals_and_a_third_the_free_one(tmp_path: Path) -> None:
    with opened_journal(tmp_path, "key") as first:
        with opened_journal(tmp_path, "key") as second:
            assert [first.path.name, second.path.name] == [".verify-key-1.jsonl", ".verify-key-2.jsonl"]
            second.add(result())
        first.add(result("bmm"))
        with opened_journal(tmp_path, "key") as third:
            assert third.finished == {"mm//float32": result()}
    assert first.finished == {"bmm//float32": result("bmm")}


def test_the_store_is_made_if_need_be(tmp_path: Path) -> None:
    with opened_journal(tmp_path / "a" / "b", "key") as journal:
        journal.add(result())
    assert (tmp_path / "a" / "b" / ".verify-key-1.jsonl").is_file()


def test_a_full_disk_is_a_storage_error_and_keeps_what_is_finished(mount: Mount) -> None:
    path = mount("size=64k") / "journal"
    journal = Journal(path)
    journal.add(result("mm"))
    with pytest.raises(StorageError, match="No space left"):
        journal.add(result("bmm", note="long" * 50_000))
    assert list(journal.finished) == list(Journal(path).finished) == ["mm//float32"]


def test_a_read_only_store_is_a_storage_error(mount: Mount) -> None:
    folder = mount("size=64k,ro")
    with pytest.raises(StorageError, match=f"as user {os.getuid()}"), opened_journal(folder, "key"):
        pytest.fail("the work has begun")


def test_a_journal_that_cannot_be_read_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / ".verify-key-1.jsonl").mkdir()
    with pytest.raises(StorageError), opened_journal(tmp_path, "key"):
        pytest.fail("the work has begun")


def test_a_journal_that_is_no_text_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"\xff\xfe\x00\n")
    Journal(path).add(result())
    assert list(Journal(path).finished) == ["mm//float32"]
