"""What a sweep does with its plans, whoever carries them out: here threads that publish a record at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from fixtures.command import left_over, records
from fixtures.notebooks import write_notebook

from lab.claim import held_alone
from lab.errors import ExecutionError, StorageError
from lab.run import How, Outcome, Plan, RunResult, Sweep, Workers, finished_run, plan_grid, read_grid, read_notebook
from lab.run.notebook import Notebook
from lab.store import publishing, write_json

Run = Callable[[Plan], str]  # returns a status


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    path = write_notebook(tmp_path / "nb.ipynb", "print(x)", parameters="x: int = 0  # any number")
    return read_notebook(path)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def plans_of(notebook: Notebook, values: str) -> Iterator[Plan]:
    return plan_grid(notebook, read_grid(notebook.parameters, [f"x={values}"], [], where="nb"))


class Doing:
    """Workers of a sweep, who note what they are given. run: says with which status a plan ends."""

    def __init__(self, pool: ThreadPoolExecutor, outputs: Path, run: Run = lambda plan: "completed") -> None:
        self.pool, self.outputs, self.run = pool, outputs, run
        self.given: list[Any] = []
        self.stopped = threading.Event()
        self.workers = Workers(lambda: 2, self.start, lambda future, plan: future.result(), self.stopped.set)

    def start(self, plan: Plan) -> Future[RunResult]:
        self.given.append(plan.parameters["x"])
        return self.pool.submit(self.publish, plan)

    def publish(self, plan: Plan) -> RunResult:
        status = self.run(plan)
        error = None if status == "completed" else {"cell": None, "name": status, "message": status}
        notebook = {"name": plan.notebook.path.name, "cells": 1}
        record = {
            "status": status,
            "key": plan.key,
            "error": error,
            "notebook": notebook,
            "parameters": plan.parameters,
            "timing": {"started": "2026-01-02T03:04:05.678+00:00", "seconds": 0.0},
        }
        with publishing(self.outputs, plan.notebook.name, plan.key) as publication:
            publication.write("run.json", write_json(record))
            publication.write("nb.ipynb", "")
        assert publication.path is not None
        return RunResult(publication.path, record)


def told(outcomes: list[Outcome]) -> list[tuple[int, Any, str]]:
    return sorted((outcome.number, outcome.plan.parameters["x"], outcome.how.value) for outcome in outcomes)


def test_each_plan_is_run_once_and_told_with_its_number(
    outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor
) -> None:
    doing = Doing(pool, outputs)
    outcomes = list(Sweep(doing.workers, outputs).run(plans_of(notebook, "10:50:10")))
    assert told(outcomes) == [(number, 10 * (number + 1), "ran") for number in range(5)]
    assert doing.given == [10, 20, 30, 40, 50]
    assert {f"nb/{outcome.plan.key}" for outcome in outcomes} == set(records(outputs))
    assert left_over(outputs) == []


def test_no_more_are_begun_than_the_workers_can_do_and_none_is_planned_before(
    outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor
) -> None:
    going, most, two = list[int](), list[int](), threading.Event()

    def run(plan: Plan) -> str:
        going.append(1)
        most.append(len(going))
        if len(going) == 2:
            two.set()
        assert two.wait(10)
        going.pop()
        return "completed"

    planned = list[int]()

    def endless() -> Iterator[Plan]:
        for number in count():
            planned.append(number)
            yield from plans_of(notebook, str(number))

    sweep = Sweep(Doing(pool, outputs, run).workers, outputs).run(endless())
    assert len(list(islice(sweep, 6))) == 6
    sweep.close()
    assert max(most) == 2
    assert len(planned) <= 8
    assert list(outputs.glob(".run-*")) == []


def test_what_completed_is_skipped_and_what_failed_is_run_again(
    outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor
) -> None:
    ends: dict[Any, str] = {1: "completed", 2: "failed", 3: "interrupted", 4: "timeout", 5: "kernel_died", 6: "oom"}
    first = Doing(pool, outputs, lambda plan: ends[plan.parameters["x"]])
    assert len(list(Sweep(first.workers, outputs).run(plans_of(notebook, "1:6:1")))) == 6
    second = Doing(pool, outputs)
    outcomes = list(Sweep(second.workers, outputs).run(plans_of(notebook, "1:6:1")))
    assert second.given == [2, 3, 4, 5, 6]
    assert told(outcomes) == [(0, 1, "skipped"), *((number, number + 1, "ran") for number in range(1, 6))]
    third = Doing(pool, outputs)  # the completed ones are KEY-2 now
    outcomes = list(Sweep(third.workers, outputs).run(plans_of(notebook, "1:6:1")))
    assert third.given == []
    assert {outcome.how for outcome in outcomes} == {How.SKIPPED}
    assert [outcome.result.path.name.partition("-")[2] for outcome in outcomes] == ["", "2", "2", "2", "2", "2"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda raw: b"", id="empty"),
        pytest.param(lambda raw: raw[:-20], id="truncated"),
        pytest.param(lambda raw: b"[]", id="a list"),
        pytest.param(lambda raw: b"\xff" + raw, id="no UTF-8"),
        pytest.param(lambda raw: raw.replace(b'"status"', b'"other"'), id="without a status"),
        pytest.param(lambda raw: raw.replace(b'"key": "', b'"key": "0'), id="of another key"),
        pytest.param(lambda raw: None, id="absent"),
    ],
)
def test_a_result_that_is_damaged_is_not_finished(
    outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor, damage: Callable[[bytes], bytes | None]
) -> None:
    (whole,) = Sweep(Doing(pool, outputs).workers, outputs).run(plans_of(notebook, "1"))
    file = whole.result.path / "run.json"
    assert finished_run(whole.plan, outputs) == whole.result
    damaged = damage(file.read_bytes())
    if damaged is None:
        file.unlink()
    else:
        file.write_bytes(damaged)
    assert finished_run(whole.plan, outputs) is None
    (again,) = Sweep(Doing(pool, outputs).workers, outputs).run(plans_of(notebook, "1"))
    assert (again.how, again.result.path.name) == (How.RAN, f"{whole.plan.key}-2")


def test_force_runs_what_is_finished_and_keeps_what_was_there(
    outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor
) -> None:
    doing = Doing(pool, outputs)
    for _ in range(3):
        list(Sweep(doing.workers, outputs, force=True).run(plans_of(notebook, "1,2")))
    assert doing.given == [1, 2] * 3
    assert len(records(outputs)) == 6


def test_a_failure_ends_the_sweep_only_where_it_is_to(
    outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor
) -> None:
    def run(plan: Plan) -> str:
        return "failed" if plan.parameters["x"] == 2 else "completed"

    fast = Doing(pool, outputs, run)
    outcomes = list(Sweep(fast.workers, outputs, fail_fast=True).run(plans_of(notebook, "1:20:1")))
    assert 2 in fast.given
    assert len(fast.given) <= 5
    assert [outcome.plan.parameters["x"] for outcome in outcomes if outcome.result.failure] == [2]
    assert sorted(outcome.plan.parameters["x"] for outcome in outcomes) == fast.given  # none is forgotten
    slow = Doing(pool, outputs, run)
    assert len(list(Sweep(slow.workers, outputs).run(plans_of(notebook, "1:20:1")))) == 20


def test_a_wish_to_finish_lets_what_runs_end_and_begins_nothing(
    outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor
) -> None:
    doing = Doing(pool, outputs)
    sweep = Sweep(doing.workers, outputs)

    def run(plan: Plan) -> str:
        sweep.wish.finish = True
        return "completed"

    doing.run = run
    outcomes = list(sweep.run(plans_of(notebook, "1:20:1")))
    assert len(outcomes) == len(doing.given) <= 3
    assert not doing.stopped.is_set()
    assert left_over(outputs) == []


def test_a_wish_to_stop_ends_what_runs_and_tells_of_it(
    outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor
) -> None:
    doing = Doing(pool, outputs)
    sweep = Sweep(doing.workers, outputs)

    def run(plan: Plan) -> str:
        sweep.wish.finish = sweep.wish.stop = True
        assert doing.stopped.wait(10)
        return "interrupted"

    doing.run = run
    outcomes = list(sweep.run(plans_of(notebook, "1:20:1")))
    assert {outcome.result.status for outcome in outcomes} == {"interrupted"}
    assert len(outcomes) == len(doing.given) <= 2
    assert left_over(outputs) == []


def test_what_another_sweep_is_at_is_left_to_it(outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor) -> None:
    mine, theirs = Doing(pool, outputs), Doing(pool, outputs)
    (plan,) = plans_of(notebook, "2")
    claim = held_alone(outputs, f"run-{plan.key}")
    assert claim.__enter__()
    outcomes = []
    for outcome in Sweep(mine.workers, outputs).run(plans_of(notebook, "1,2,3")):
        outcomes.append(outcome)
        if len(outcomes) == 2:  # the others came first; now it is published there
            theirs.publish(plan)
            claim.__exit__(None, None, None)
    assert told(outcomes) == [(0, 1, "ran"), (1, 2, "elsewhere"), (2, 3, "ran")]
    assert mine.given == [1, 3]
    assert left_over(outputs) == []


def test_what_another_sweep_gave_up_is_run(outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor) -> None:
    doing = Doing(pool, outputs)
    (plan,) = plans_of(notebook, "2")
    claim = held_alone(outputs, f"run-{plan.key}")
    assert claim.__enter__()
    threading.Timer(0.5, lambda: claim.__exit__(None, None, None)).start()
    assert told(list(Sweep(doing.workers, outputs).run(plans_of(notebook, "2")))) == [(0, 2, "ran")]


def test_a_sweep_that_is_abandoned_stops_what_runs_and_claims_nothing(
    outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor
) -> None:
    doing = Doing(pool, outputs)

    def run(plan: Plan) -> str:
        if plan.parameters["x"] != 1:
            assert doing.stopped.wait(10)
        return "completed"

    doing.run = run
    sweep = Sweep(doing.workers, outputs).run(plans_of(notebook, "1:20:1"))
    assert next(sweep).plan.parameters["x"] == 1
    sweep.close()
    assert doing.stopped.is_set()
    assert list(outputs.glob(".run-*")) == []


def test_an_error_of_the_store_ends_the_sweep(outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor) -> None:
    def run(plan: Plan) -> str:
        if plan.parameters["x"] == 3:
            raise StorageError("The disk is full.", "Expected room.", "Free some.")
        return "completed"

    doing = Doing(pool, outputs, run)
    with pytest.raises(StorageError, match="disk is full"):
        list(Sweep(doing.workers, outputs).run(plans_of(notebook, "1:20:1")))
    assert len(doing.given) <= 5
    assert doing.given[:3] == [1, 2, 3]
    assert list(outputs.glob(".run-*")) == []


def test_lost_workers_are_an_error_that_says_what_is_kept(
    outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor
) -> None:
    list(Sweep(Doing(pool, outputs).workers, outputs).run(plans_of(notebook, "1")))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as mortal:
        workers = Workers(
            lambda: 1, lambda plan: mortal.submit(os._exit, 1), lambda future, plan: future.result(), lambda: None
        )
        with pytest.raises(ExecutionError, match=r"The workers are lost: BrokenProcessPool.*is kept and will be"):
            list(Sweep(workers, outputs).run(plans_of(notebook, "1,2,3")))
        with pytest.raises(ExecutionError, match="The workers are lost"):  # nor do they take any more
            list(Sweep(workers, outputs).run(plans_of(notebook, "4")))
    assert len(records(outputs)) == 1
    assert left_over(outputs) == []


def test_many_finished_runs_are_skipped_in_no_time(outputs: Path, notebook: Notebook, pool: ThreadPoolExecutor) -> None:
    doing = Doing(pool, outputs)
    for plan in plans_of(notebook, "1:300:1"):
        folder = outputs / "nb" / plan.key
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(
            json.dumps({"status": "completed", "key": plan.key, "timing": {"seconds": 1.0}})
        )
    outcomes = list(Sweep(doing.workers, outputs).run(plans_of(notebook, "1:300:1")))
    assert {outcome.how for outcome in outcomes} == {How.SKIPPED}
    assert [outcome.number for outcome in outcomes] == list(range(300))
    assert doing.given == []
