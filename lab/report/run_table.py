"""Runs as a table to compute with: a row a run, or a row a gradient, as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lab.errors import StorageError, UsageError
from lab.report.spreadsheet import defuse
from lab.run.difference import worst_ulps
from lab.run.findings import strict
from lab.run.index import UNREADABLE, RunSummary, read_record

Row = dict[str, Any]
_NOT_FINITE = {"nan", "inf", "-inf"}  # how run.json writes these numbers


def run_rows(runs: Iterable[RunSummary], *, comparisons: bool = False) -> list[Row]:
    """Return a row for each run, all with the same columns in the same order; None where a run has no such value.

    comparisons: whether to return a row for each gradient instead, with the columns of its run before its own.
    """
    rows = []
    for run in runs:
        record = _record(run)
        row = _run_row(run, record)
        if comparisons:
            rows += [{**row, **_gradient(found)} for found in record["comparisons"]]
        else:
            rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    fixed = [name for name in names if "." not in name]
    varied = [f"{kind}.{name}" for kind in ("memory", "param") for name in _names(names, kind)]
    gradients = [name for name in names if name.startswith("gradient.")]
    return [{name: row.get(name) for name in (*fixed, *varied, *gradients)} for row in rows]


def to_csv(rows: list[Row]) -> str:
    """Return rows as CSV (RFC 4180), with no text that a spreadsheet takes for a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if rows:
        writer.writerow(defuse(name) for name in rows[0])
    writer.writerows([defuse(value) if isinstance(value, str) else value for value in row.values()] for row in rows)
    return text.getvalue()


def to_jsonl(rows: list[Row]) -> str:
    """Return rows as lines of strict JSON, in which nan and the infinities are text."""
    return "".join(json.dumps(strict(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def to_parquet(rows: list[Row]) -> bytes:
    """Return rows as Parquet. A column that holds text beside numbers is text. Raises: UsageError without pyarrow."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            "Parquet is written by pyarrow, which is not installed.",
            "Expected the extra 'parquet' of this package.",
            "Type 'pip install pyarrow', or export to a file that ends in .csv or .jsonl.",
        ) from None

    def column(name: str) -> Any:
        values = [_printable(row[name]) for row in rows]
        try:
            return pyarrow.array(values)
        except (pyarrow.ArrowException, OverflowError):  # of several types, or too large for one
            return pyarrow.array([value if value is None else str(value) for value in values])

    columns = {name: column(name) for name in rows[0]} if rows else {}
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


FORMATS: Mapping[str, Callable[[list[Row]], str | bytes]] = {
    "csv": to_csv,
    "jsonl": to_jsonl,
    "parquet": to_parquet,
}


def _record(run: RunSummary) -> dict[str, Any]:
    """Return the record of a run; one that cannot be read has neither an environment nor comparisons."""
    if run.status != UNREADABLE:
        try:
            return read_record(run.path)
        except StorageError:  # removed or damaged since it was listed
            pass
    return {"environment": {}, "comparisons": []}


def _run_row(run: RunSummary, record: Mapping[str, Any]) -> Row:
    return {
        "run": str(run.path),
        "notebook": run.notebook,
        "key": run.key,
        "status": run.status,
        "started": run.started,
        "seconds": run.seconds,
        "device": run.device,
        "torch": record["environment"].get("torch"),
        "comparisons": run.comparisons,
        "failing": run.failing,
        **{f"memory.{name}": size for name, size in (run.memory or {}).items() if isinstance(size, int | float)},
        **{f"param.{name}": value for name, value in (run.parameters or {}).items()},
    }


def _gradient(found: Mapping[str, Any]) -> Row:
    """Return the columns of a gradient. What is not one number is JSON; of the ulps, the largest stands."""
    keys = ("name", "dtype", "value", "reference", "absolute", "relative", "tolerance", "verdict")
    return {
        **{f"gradient.{key}": _number(found.get(key)) for key in keys},
        "gradient.ulps": worst_ulps(found),
    }


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return json.dumps(value)
    return float(value) if isinstance(value, str) and value in _NOT_FINITE else value


def _names(columns: Iterable[str], kind: str) -> list[str]:
    return sorted(name.partition(".")[2] for name in columns if name.startswith(f"{kind}."))


def _printable(value: Any) -> Any:
    """Return text as UTF-8 can hold it, as lab.store writes it; anything else as it is."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
