"""The index of runs: it finds them all, remembers what it has read, and is never in the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from fixtures.runs import gradient, write_run

from lab.errors import StorageError
from lab.run import index
from lab.run.index import INDEX, RunSummary, read_record, read_runs, summarise


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


def names(runs: list[RunSummary]) -> list[str]:
    return [run.name for run in runs]


def test_a_run_is_summarised(outputs: Path) -> None:
    rows = [gradient(), gradient(verdict="fail", ulps=99.0)]
    path = write_run(outputs, day=7, comparisons=rows, timing={"memory": {"kernel_peak": 5}})
    (run,) = read_runs(outputs)
    assert run == RunSummary(
        path=path,
        notebook="nb",
        key="a" * 16,
        status="completed",
        started="2026-01-07T03:04:05.678+00:00",
        seconds=1.5,
        parameters={"x": 2.0, "device": "cpu"},
        memory={"kernel_peak": 5},
        comparisons=2,
        failing=1,
        device="cpu",
    )
    assert (run.name, run.failed) == ("nb/" + "a" * 16, False)


def test_parameters_keep_their_types_through_the_index(outputs: Path) -> None:
    given = {"b": True, "f": 2.0, "i": 2, "s": "2"}  # sorted, as run.json is
    write_run(outputs, parameters=given)
    first, again = read_runs(outputs), read_runs(outputs)
    for (run,) in (first, again):
        assert repr(run.parameters) == repr(given)


def test_runs_come_the_newest_first_from_all_notebooks(outputs: Path) -> None:
    write_run(outputs, "one", day=2)
    write_run(outputs, "two", day=3)
    write_run(outputs, "one", day=1)
    assert names(read_runs(outputs)) == [f"{n}/{'a' * 16}{s}" for n, s in (("two", ""), ("one", ""), ("one", "-2"))]


def test_what_is_no_run_of_a_notebook_is_left_out(outputs: Path) -> None:
    run = write_run(outputs)
    for folder, name in (("lesson-05", "lesson.json"), ("verify", "verify.json")):
        (outputs / folder / "key").mkdir(parents=True)
        (outputs / folder / "key" / name).write_text('{"schema": 1}')
    (outputs / "other" / "key").mkdir(parents=True)
    (outputs / "other" / "key" / "run.json").write_text('{"schema": 1}')
    (outputs / ".partial-x" / "key").mkdir(parents=True)
    (outputs / ".partial-x" / "key" / "run.json").write_bytes((run / "run.json").read_bytes())
    (outputs / "nb" / ".partial-y").mkdir()
    (outputs / "nb" / ".partial-y" / "run.json").write_bytes((run / "run.json").read_bytes())
    (outputs / "linked").symlink_to(outputs / "nb")
    (outputs / "nb" / "empty").mkdir()
    for _ in range(2):
        assert names(read_runs(outputs)) == [f"nb/{'a' * 16}"]


def test_no_outputs_at_all_are_no_runs(outputs: Path) -> None:
    assert read_runs(outputs) == []
    assert not outputs.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": NaN}',
        "null",
        '"x"',
        "[" * 100_000,
        "\xff",
        '{"schema": 2, "notebook": {}}',
        '{"schema":1,"notebook":1}',
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_a_damaged_record_is_listed_as_unreadable(outputs: Path, text: str) -> None:
    path = write_run(outputs)
    (path / "run.json").write_bytes(text.encode("latin-1"))
    for _ in range(2):
        (run,) = read_runs(outputs)
        assert (run.status, run.path, run.failed) == ("unreadable", path, True)
        assert run.started.startswith("20")
    with pytest.raises(StorageError, match="cannot be read"):
        read_record(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"comparisons": 3},
        {"comparisons": [{}]},
        {"comparisons": [gradient(ulps="many")]},
        {"comparisons": [gradient(ulps=[None])]},
        {"lock": None},
        {"cells": [{"index": 0}]},
        {"claims": ["x"]},
        {"error": "x"},
        {"timing": {"cells": ["long"]}},
        {"timing": {"memory": 5}},
        {"parameters": [1]},
        {"timing": {"started": "yesterday"}},
        {"timing": {"seconds": "long"}},
        {"environment": None},
        {"status": None},
    ],
    ids=str,
)
def test_a_record_of_wrong_types_is_unreadable_too(outputs: Path, changes: dict[str, object]) -> None:
    write_run(outputs, **changes)
    assert [run.status for run in read_runs(outputs)] == ["unreadable"]


def test_a_record_too_large_to_read_is_unreadable_and_costs_nothing(outputs: Path) -> None:
    path = write_run(outputs)
    os.truncate(path / "run.json", 1 << 40)  # sparse: no disk holds it, nor any memory
    assert [run.status for run in read_runs(outputs)] == ["unreadable"]
    with pytest.raises(StorageError, match="more than 64,000,000 bytes"):
        read_record(path)


def test_a_record_that_is_a_link_is_not_followed(outputs: Path, tmp_path: Path) -> None:
    path = write_run(outputs)
    (path / "run.json").rename(tmp_path / "elsewhere.json")
    (path / "run.json").symlink_to(tmp_path / "elsewhere.json")
    assert read_runs(outputs) == []


def test_a_record_that_was_read_once_is_not_read_again(outputs: Path) -> None:
    path = write_run(outputs)
    before = read_runs(outputs)
    about = (path / "run.json").stat()
    # What only a reader of the file could notice: the same size and time, another status.
    text = (path / "run.json").read_text().replace('"completed"', '"COMPLETED"')
    (path / "run.json").write_text(text)
    os.utime(path / "run.json", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert read_runs(outputs) == before
    os.utime(path / "run.json", ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert [run.status for run in read_runs(outputs)] == ["COMPLETED"]


def test_the_index_is_written_only_where_something_changed(outputs: Path) -> None:
    write_run(outputs)
    read_runs(outputs)
    first = (outputs / INDEX).stat()
    read_runs(outputs)
    assert (outputs / INDEX).stat().st_ino == first.st_ino
    removed = write_run(outputs, day=2)
    assert len(read_runs(outputs)) == 2
    assert (outputs / INDEX).read_text().count("\n") == 2
    (removed / "run.json").unlink()
    removed.rmdir()
    assert len(read_runs(outputs)) == 1
    assert (outputs / INDEX).read_text().count("\n") == 1


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\xfe{", b"{}\n[]\nnull\n\n", b'{"path": "nb/x/run.json"', b"[" * 100_000]
)
def test_a_damaged_index_is_made_anew(outputs: Path, damage: bytes) -> None:
    write_run(outputs)
    before = read_runs(outputs)
    sound = (outputs / INDEX).read_bytes()
    for torn in (damage, sound[: len(sound) // 2], damage + b"\n" + sound):
        (outputs / INDEX).write_bytes(torn)
        assert read_runs(outputs) == before
        assert read_runs(outputs) == before


def test_lines_of_the_index_with_wrong_types_are_not_believed(outputs: Path) -> None:
    write_run(outputs)
    before = read_runs(outputs)
    text = (outputs / INDEX).read_text()
    (outputs / INDEX).write_text(text.replace('"seconds":1.5', '"seconds":"long"'))
    assert read_runs(outputs) == before


def test_an_index_that_cannot_be_written_is_done_without(outputs: Path) -> None:
    write_run(outputs)
    (outputs / INDEX).mkdir()
    assert len(read_runs(outputs)) == 1
    assert [path.name for path in outputs.iterdir() if path.name.startswith(".")] == []


def test_an_index_that_was_moved_with_its_runs_names_the_new_place(outputs: Path, tmp_path: Path) -> None:
    write_run(outputs)
    read_runs(outputs)
    outputs.rename(tmp_path / "elsewhere")
    (run,) = read_runs(tmp_path / "elsewhere")
    assert run.path.is_dir()


def test_a_folder_is_summarised_alone(outputs: Path) -> None:
    path = write_run(outputs)
    assert summarise(path) == read_runs(outputs)[0]
    assert summarise(outputs) is None


def test_a_thousand_runs_are_listed_from_the_index_in_a_moment(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (write_run(outputs) / "run.json").read_bytes()
    for number in range(999):
        folder = outputs / f"nb{number % 7}" / f"{number:016x}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_bytes(text)
    assert len(read_runs(outputs)) == 1000
    monkeypatch.setattr(index, "_summary_at", lambda path: pytest.fail(f"{path} was read again"))
    seconds = []
    for _ in range(3):  # the fastest: this machine has other things to do
        start = time.perf_counter()
        assert len(read_runs(outputs)) == 1000
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
