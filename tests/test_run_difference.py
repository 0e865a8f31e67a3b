"""What differs between two records: results apart from what went in and from what it cost."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from fixtures.notebooks import write_notebook
from fixtures.runs import gradient, read_json, record, write_run

from lab.errors import StorageError
from lab.run import run_notebook
from lab.run.difference import compare_records, read_result, worst_comparisons, worst_ulps
from lab.store import write_json


def test_two_records_that_differ_in_their_timing_alone_have_the_same_results() -> None:
    slow = record(timing={"seconds": 3.0, "started": "2026-02-02T00:00:00.000+00:00", "memory": {"peak": 8}})
    found = compare_records(record(timing={"memory": {"peak": 2, "other": 1}}), slow)
    assert found.same
    assert (found.inputs, found.results, found.comparisons) == ({}, {}, [])
    assert found.ratios == {"seconds": 2.0, "memory.peak": 4.0}


@pytest.mark.parametrize(
    ("changes", "name", "pair"),
    [
        ({"status": "failed"}, "status", ("completed", "failed")),
        ({"canonical": "e" * 16}, "canonical", ("c" * 16, "e" * 16)),
        ({"pictures": ["a.svg"]}, "pictures.0", (None, "a.svg")),
        ({"claims": [{"sentence": "s", "holds": False}]}, "claims.0.holds", (None, False)),
        ({"cells": [{"index": 0, "state": "failed"}]}, "cells.0.state", ("completed", "failed")),
        ({"error": {"cell": 0, "name": "E", "message": "m"}}, "error.name", (None, "E")),
    ],
    ids=lambda value: str(value)[:20],
)
def test_other_results_are_named(changes: dict[str, object], name: str, pair: tuple[object, object]) -> None:
    found = compare_records(record(), record(**changes))
    assert not found.same
    assert found.results[name] == pair
    assert found.inputs == {}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"parameters": {"x": 3.0, "device": "cpu"}}, "parameters.x"),
        ({"environment": {"switches": {"tf32": True}}}, "environment.switches.tf32"),
        ({"lock": {"source": "installed", "digest": "2"}}, "lock.source"),
        ({"notebook": {"name": "nb.ipynb", "digest": "f" * 16, "cells": 1}}, "notebook.digest"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_other_inputs_are_named_and_are_no_other_results(changes: dict[str, object], name: str) -> None:
    found = compare_records(record(), record(**changes))
    assert found.same
    assert name in found.inputs


def test_gradients_are_matched_by_name_in_their_order() -> None:
    a = record(comparisons=[gradient("p"), gradient("q"), gradient("q", value=1.0)])
    b = record(comparisons=[gradient("q"), gradient("q", value=2.0, ulps="inf", verdict="fail"), gradient("r")])
    found = compare_records(a, b)
    rows = {row["name"]: (row["a"], row["b"]) for row in found.comparisons}
    assert list(rows) == ["p", "q", "r"]
    assert rows["p"][1] is None
    assert rows["r"][0] is None
    assert [side["value"] for side in rows["q"]] == [1.0, 2.0]
    assert [side["ulps"] for side in rows["q"]] == [0.0, "inf"]
    assert not found.same
    assert write_json(found.to_json())


def test_an_address_in_an_error_s_message_is_no_difference() -> None:
    def failed(message: str) -> dict[str, object]:
        return record(error={"cell": 0, "name": "ValueError", "message": message})

    assert compare_records(failed("<object at 0x7f01>"), failed("<object at 0x7f02>")).same
    assert not compare_records(failed("1"), failed("2")).same


def test_zero_and_false_are_not_nothing() -> None:
    found = compare_records(record(parameters={"x": 0}), record(parameters={}))
    assert found.inputs["parameters.x"] == (0, None)


@pytest.mark.parametrize(
    ("ulps", "worst"), [(0.5, 0.5), ([0.5, [2.0, 1.0]], 2.0), ([], 0.0), ("inf", math.inf), ([1.0, "inf"], math.inf)]
)
def test_the_worst_error_of_a_gradient(ulps: object, worst: float) -> None:
    assert worst_ulps(gradient(ulps=ulps)) == worst


def test_the_worst_gradients_are_those_that_fail_then_the_largest_errors() -> None:
    rows = [gradient("a", ulps=1.0), gradient("b", ulps=3.0), gradient("c", ulps=2.0, verdict="fail"), gradient("d")]
    assert [row["name"] for _, row in worst_comparisons(record(comparisons=rows), 3)] == ["c", "b", "a"]


def test_a_record_without_its_canonical_digest_gets_that_of_its_notebook(tmp_path: Path) -> None:
    result = run_notebook(write_notebook(tmp_path / "nb.ipynb", "1"), {}, outputs=tmp_path / "outputs")
    canonical = result.record["canonical"]
    (result.path / "run.json").write_text(write_json({**result.record, "canonical": None}))
    assert read_result(result.path)["canonical"] is None
    old = {key: value for key, value in read_json(result.path / "run.json").items() if key != "canonical"}
    (result.path / "run.json").write_text(write_json(old))
    assert read_result(result.path)["canonical"] == canonical


def test_a_record_without_it_whose_notebook_is_gone_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    old = {key: value for key, value in read_json(path / "run.json").items() if key != "canonical"}
    (path / "run.json").write_text(write_json(old))
    with pytest.raises(StorageError, match=r"nb\.ipynb cannot be read"):
        read_result(path)
