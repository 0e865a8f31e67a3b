"""A run verified by running it again: the same, another, or no longer to be had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.notebooks import PARAMETERS, write_notebook
from fixtures.runs import read_json

from lab.errors import DeviceUnavailable, ParameterError, StorageError, UsageError
from lab.run import RunResult, execute_plan, plan_run, run_notebook
from lab.run.verify_runs import plan_again, verify_run
from lab.store import write_json

SAME = "print(object())\nx * 2"
OTHER = "import time\nprint('before')\nprint(time.time_ns())"


def run(folder: Path, *sources: str, name: str = "nb", **given: object) -> RunResult:
    path = write_notebook(folder / f"{name}.ipynb", *sources, parameters=PARAMETERS)
    return run_notebook(path, given, outputs=folder / "outputs")


def tamper(result: RunResult, **changes: object) -> None:
    record = read_json(result.path / "run.json")
    (result.path / "run.json").write_text(write_json({**record, **changes}))


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(tmp_path_factory.mktemp("same"), SAME, x=3)


def test_a_run_that_comes_to_the_same_is_the_same_and_leaves_no_trace(same: RunResult) -> None:
    before = sorted(same.path.parent.parent.rglob("*"))
    found = verify_run(same.path, plan_again(same.path))
    assert (found.same, found.differing, found.cell, found.diff) == (True, "", None, ())
    assert sorted(same.path.parent.parent.rglob("*")) == before


def test_a_failed_run_is_verified_too(tmp_path: Path) -> None:
    result = run(tmp_path, "raise ValueError(object())", "1")
    assert result.status == "failed"
    assert verify_run(result.path, plan_again(result.path)).same


def test_the_first_cell_that_differs_is_named_with_how(tmp_path: Path) -> None:
    result = run(tmp_path, SAME, OTHER, OTHER)
    found = verify_run(result.path, plan_again(result.path))
    assert not found.same
    assert found.differing == "canonical"
    assert found.cell == 3  # after the parameters, those that were given, and the first
    assert len(found.diff) == 3
    assert found.diff[1][0] + found.diff[2][0] == "-+"
    assert not any("before" in line for line in found.diff)


def test_a_record_that_was_changed_by_hand_differs(tmp_path: Path) -> None:
    result = run(tmp_path, SAME)
    tamper(result, environment={**result.record["environment"], "threads": 1000})
    found = verify_run(result.path, plan_again(result.path))
    assert found.differing == "environment.threads"
    assert found.cell is None


def test_an_executed_notebook_that_was_changed_by_hand_differs(tmp_path: Path) -> None:
    result = run(tmp_path, SAME)
    text = (result.path / "nb.ipynb").read_text().replace('"4.0"', '"5.0"')
    (result.path / "nb.ipynb").write_text(text)
    found = verify_run(result.path, plan_again(result.path))
    assert (found.same, found.cell) == (False, 2)
    assert [line for line in found.diff if line[0] in "+-"] == ['-"5.0"', '+"4.0"']


def test_a_notebook_that_has_changed_is_refused_until_the_old_one_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, SAME)
    old = (tmp_path / "nb.ipynb").rename(tmp_path / "old.ipynb")
    with pytest.raises(UsageError, match="is not here"):
        plan_again(result.path)
    write_notebook(tmp_path / "nb.ipynb", "x * 3", parameters=PARAMETERS)
    with pytest.raises(UsageError, match=r"has changed since.*--notebook"):
        plan_again(result.path)
    assert verify_run(result.path, plan_again(result.path, notebook=old)).same


def test_a_notebook_whose_parameters_have_changed_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path, SAME)
    write_notebook(tmp_path / "nb.ipynb", "1")
    with pytest.raises(UsageError, match="has changed since") as raised:
        plan_again(result.path)
    assert not isinstance(raised.value, ParameterError)


def test_what_else_the_key_depends_on_is_named_where_it_changed(tmp_path: Path) -> None:
    result = run(tmp_path, SAME)
    tamper(result, key="0" * 16, code="1" * 16)
    with pytest.raises(UsageError, match="The lab's own code has changed"):
        plan_again(result.path)
    tamper(result, key="0" * 16, lock={"source": "requirements/cpu.txt", "digest": "1"})
    with pytest.raises(UsageError, match="The lock has changed"):
        plan_again(result.path)


def test_a_device_that_is_not_here_is_said(tmp_path: Path) -> None:
    result = run(tmp_path, SAME)
    tamper(result, parameters={"x": 2.0, "device": "cpu:7"})
    with pytest.raises(DeviceUnavailable):
        plan_again(result.path)


@pytest.mark.parametrize("status", ["timeout", "interrupted", "kernel_died"])
def test_a_run_that_ended_by_a_chance_is_refused(same: RunResult, tmp_path: Path, status: str) -> None:
    copied = replace(same, path=tmp_path / "outputs" / "nb" / same.path.name)
    copied.path.mkdir(parents=True)
    for file in same.path.iterdir():
        (copied.path / file.name).write_bytes(file.read_bytes())
    tamper(copied, status=status)
    with pytest.raises(UsageError, match=f"ended as {status}"):
        plan_again(copied.path)


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"cells": [], "nbformat": 3})])
def test_an_executed_notebook_that_cannot_be_read_is_said(tmp_path: Path, text: str) -> None:
    result = run(tmp_path, SAME)
    (result.path / "nb.ipynb").write_text(text)
    with pytest.raises(StorageError, match=r"nb\.ipynb cannot be read"):
        plan_again(result.path)


def test_a_run_with_more_threads_that_shows_its_folder_is_the_same_again(tmp_path: Path) -> None:
    path = write_notebook(
        tmp_path / "nb.ipynb", "import os; print(os.getcwd())", "print(os.environ['OMP_NUM_THREADS'])"
    )
    result = execute_plan(plan_run(path, {}, threads=2), outputs=tmp_path / "outputs")
    plan = plan_again(result.path)
    assert plan.threads == 2
    assert verify_run(result.path, plan).same
