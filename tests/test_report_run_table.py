"""Runs as a table: the same rows in three forms, read back by what people read them with."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures.runs import gradient, write_run

from lab.errors import UsageError
from lab.report.run_table import run_rows, to_csv, to_jsonl, to_parquet
from lab.run.index import read_runs


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Runs of two notebooks with other parameters; one failed gradient, one unreadable run."""
    outputs = tmp_path / "outputs"
    rows = [gradient(), gradient("J", value=[1.0, "inf"], ulps=[0.5, "inf"], verdict="fail")]
    write_run(outputs, "one", day=1, comparisons=rows, timing={"memory": {"peak": 7}})
    write_run(outputs, "two", day=2, parameters={"x": "=1+1", "lr": -1}, comparisons=[])
    (write_run(outputs, "bad", day=3) / "run.json").write_text("{")
    return outputs


def rows_of(outputs: Path, **options: bool) -> list[dict[str, Any]]:
    return run_rows(read_runs(outputs), **options)


def test_a_row_a_run_with_a_column_a_parameter(outputs: Path) -> None:
    rows = {row["notebook"]: row for row in rows_of(outputs)}
    columns = list(rows["one"])
    assert columns[:4] == ["run", "notebook", "key", "status"]
    assert columns[-4:] == ["memory.peak", "param.device", "param.lr", "param.x"]
    assert all(list(row) == columns for row in rows.values())
    one, two, bad = rows["one"], rows["two"], rows["bad"]
    assert (one["param.x"], one["param.lr"], one["memory.peak"], one["comparisons"], one["failing"]) == (
        2,
        None,
        7,
        2,
        1,
    )
    assert (two["param.x"], two["param.lr"], two["torch"], two["memory.peak"]) == ("=1+1", -1, "2.13.0", None)
    assert (bad["status"], bad["torch"], bad["param.x"]) == ("unreadable", None, None)


def test_a_row_a_gradient_with_the_columns_of_its_run(outputs: Path) -> None:
    rows = rows_of(outputs, comparisons=True)
    assert [(row["notebook"], row["gradient.name"]) for row in rows] == [("one", "dy/dx = 2x"), ("one", "J")]
    assert (rows[0]["gradient.value"], rows[0]["gradient.ulps"], rows[0]["param.x"]) == (4.0, 0.0, 2.0)
    assert (rows[1]["gradient.value"], rows[1]["gradient.ulps"]) == ('[1.0, "inf"]', math.inf)


def test_csv_is_read_back_and_holds_no_formula(outputs: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(rows_of(outputs)), newline="")))
    two = next(row for row in rows if row["notebook"] == "two")
    assert len(rows) == 3
    assert two["param.x"] == "'=1+1"
    assert two["param.lr"] == "-1"  # a number is no formula
    assert two["memory.peak"] == ""


def test_lines_of_json_are_strict(outputs: Path) -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    rows = [
        json.loads(line, parse_constant=refuse) for line in to_jsonl(rows_of(outputs, comparisons=True)).splitlines()
    ]
    assert [row["gradient.ulps"] for row in rows] == [0.0, "inf"]


def test_parquet_is_read_back_with_types(outputs: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    for comparisons in (False, True):
        rows = rows_of(outputs, comparisons=comparisons)
        read = parquet.read_table(io.BytesIO(to_parquet(rows))).to_pylist()
        assert len(read) == len(rows)
        assert list(read[0]) == list(rows[0])
    assert [row["gradient.ulps"] for row in read] == [0.0, math.inf]
    whole = parquet.read_table(io.BytesIO(to_parquet(rows_of(outputs)))).to_pylist()
    assert {row["param.x"] for row in whole} == {"2.0", "=1+1", None}  # text beside numbers makes a column of text
    assert {row["param.lr"] for row in whole} == {-1, None}


def test_parquet_takes_what_has_no_type_of_its_own() -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    rows = [{"a": 2**70, "b": 1, "c": True, "d": "\udcff"}, {"a": 1, "b": 2.5, "c": 1, "d": None}]
    read = parquet.read_table(io.BytesIO(to_parquet(rows))).to_pylist()
    assert read[0] == {"a": str(2**70), "b": 1.0, "c": "True", "d": "\\udcff"}
    assert read[1] == {"a": "1", "b": 2.5, "c": "1", "d": None}


def test_no_runs_are_an_empty_table() -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert to_csv([]) == to_jsonl([]) == ""
    assert parquet.read_table(io.BytesIO(to_parquet([]))).num_rows == 0


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pip install pyarrow"):
        to_parquet([])
