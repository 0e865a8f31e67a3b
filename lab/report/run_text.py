"""Runs in words for a terminal: a table of many, all about one, what differs between two.

Names, values and messages come from notebooks, so nothing that a terminal would obey is left in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from lab.run.difference import Difference, worst_comparisons
from lab.run.index import FAIL, UNREADABLE, RunSummary
from lab.run.status import COMPLETED

if TYPE_CHECKING:
    from rich.console import RenderableType

Told = Iterator[tuple[str, str]]
_KEY = 8  # characters of a key, or as many as tell it from the others
_LONGEST = 60  # characters of a value
_NARROW = 14  # the same in a table
_WORST = 5  # gradients that are shown
_SHOWN = 20  # differences of a kind that are shown
_GOOD, _BAD, _QUIET = "green", "red", "dim"


def runs_table(runs: Sequence[RunSummary], *, width: int) -> list[RenderableType]:
    """Return a table of runs as wide as the terminal at most, and a line that says what found no room."""
    columns = [("started (UTC)", [run.started[:16].replace("T", " ") for run in runs])]
    if len({run.notebook for run in runs}) > 1:
        columns.append(("notebook", [_value(run.notebook, 24) for run in runs]))
    columns.append(("run", _short_names(runs)))
    columns.append(("status", [run.status for run in runs]))
    columns.append(("s", [f"{run.seconds:.1f}" for run in runs]))
    if any(run.failing for run in runs):
        columns.append(("off", [str(run.failing or "") for run in runs]))
    left_out = []
    for name in _differing_parameters(runs):
        values = [_value((run.parameters or {}).get(name, ""), _NARROW) for run in runs]
        column = (_value(name, _NARROW), values)
        if sum(_width(one) + 2 for one in [*columns, column]) > width + 2:
            left_out.append(name)
        else:
            columns.append(column)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head, _ in columns:
        table.add_column(head, no_wrap=True, overflow="ellipsis", justify="right" if head in ("s", "off") else "left")
    for run, *cells in zip(runs, *(values for _, values in columns), strict=True):
        table.add_row(*map(Text, cells), style=None if run.status == COMPLETED else _BAD)
    note = f"without room: {', '.join(left_out)}; --json has all"
    return [table, *([Text(_value(note, width), style=_QUIET)] if left_out else [])]


def run_text(run: RunSummary, record: Mapping[str, Any]) -> Told:
    """Tell all about a run. record: what its run.json holds."""
    yield f"{run.name}  {run.status}", "bold" if run.status == COMPLETED else "bold red"
    yield f"started {run.started}, {run.seconds:.1f} s{_memory(run.memory)}", ""
    environment = record["environment"]
    known = [environment.get(key) for key in ("platform", "device", "device_name")]
    yield f"torch {environment.get('torch')}, Python {environment.get('python')}, {_listed(known)}", ""
    yield f"packages {record['lock'].get('source')}, {record['lock'].get('digest')}", _QUIET
    yield from _parameters(record["parameters"])
    yield from _cells(record)
    if record["error"]:
        yield "\nerror", "bold"
        yield f"  {_value(record['error'].get('name'))}: {_value(record['error'].get('message'), 400)}", _BAD
    yield from _gradients(run, record)
    yield "\nfiles", "bold"
    for file in sorted(path for path in run.path.rglob("*") if not path.is_dir()):
        yield f"  {file.relative_to(run.path)}  {size_text(file.lstat().st_size)}", ""


def difference_text(a: RunSummary, b: RunSummary, found: Difference) -> Told:
    """Tell what differs between two runs."""
    yield f"{a.name} → {b.name}", "bold"
    for title, pairs in (("went in", found.inputs), ("came out", found.results)):
        if pairs:
            yield f"\n{title}", "bold"
        for name, (left, right) in list(pairs.items())[:_SHOWN]:
            yield f"  {name}: {_value(left)} → {_value(right)}", ""
        if len(pairs) > _SHOWN:
            yield f"  and {len(pairs) - _SHOWN} more; --json has all", _QUIET
    if found.comparisons:
        yield "\ngradients", "bold"
    for row in found.comparisons[:_SHOWN]:
        yield f"  {_value(row['name'])}: {_gradient(row['a'])} → {_gradient(row['b'])}", ""
    if len(found.comparisons) > _SHOWN:
        yield f"  and {len(found.comparisons) - _SHOWN} more; --json has all", _QUIET
    yield "", ""
    for name, ratio in found.ratios.items():
        yield f"{name}: × {ratio:g}", _QUIET
    yield ("the same results", _GOOD) if found.same else ("other results", _BAD)


def verification_text(run: RunSummary, row: Mapping[str, Any]) -> Told:
    """Tell whether a run was reproduced. row: its status, and why it is stale or what differs, in which cell, how."""
    if row["status"] == "stale":
        yield f"stale    {run.name}: {row['why']}", _BAD
    elif row["status"] == "same":
        yield f"same     {run.name}", _GOOD
    else:
        where = "" if row["cell"] is None else f"; first in cell {row['cell'] + 1} of the executed notebook"
        yield f"differs  {run.name}: {_value(row['differing'], 200)}{where}", _BAD
        for line in row["diff"]:
            yield f"    {_value(line, 110)}", _QUIET


def size_text(size: int) -> str:
    """Return a number of bytes in a unit that fits it."""
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if amount >= 1000:
            amount, unit = amount / 1000, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def _short_names(runs: Sequence[RunSummary]) -> list[str]:
    """Return the beginning of each folder's name, long enough to tell its key from all others, and its number."""
    keys = {run.path.name.partition("-")[0] for run in runs}
    length = next((n for n in range(_KEY, 64) if len({key[:n] for key in keys}) == len(keys)), 64)
    parts = [run.path.name.partition("-") for run in runs]
    return [f"{key[:length]}{dash}{number}" for key, dash, number in parts]


def _differing_parameters(runs: Sequence[RunSummary]) -> list[str]:
    read = [run.parameters or {} for run in runs if run.status != UNREADABLE]
    names = dict.fromkeys(name for parameters in read for name in parameters)
    return [name for name in names if len({repr(parameters.get(name)) for parameters in read}) > 1]


def _width(column: tuple[str, list[str]]) -> int:
    return max(map(len, [column[0], *column[1]]))


def _value(value: Any, longest: int = _LONGEST) -> str:
    """Return a value in one line that can be printed, cut where it is long."""
    text = "–" if value is None else str(value)
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text.replace("\n", " "))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(_value(value) for value in dict.fromkeys(values) if value)


def _memory(memory: Mapping[str, Any] | None) -> str:
    known = {name: size for name, size in (memory or {}).items() if isinstance(size, int | float)}
    return "".join(f", {_value(name)} {size:,}" for name, size in known.items())


def _parameters(parameters: Mapping[str, Any]) -> Told:
    if parameters:
        yield "\nparameters", "bold"
    width = max(map(len, parameters), default=0)
    for name, value in parameters.items():
        yield f"  {name:<{width}}  {_value(value)}", ""


def _cells(record: Mapping[str, Any]) -> Told:
    yield "\ncells", "bold"
    seconds = record["timing"].get("cells") or []
    for number, cell in enumerate(record["cells"]):
        time = f"{seconds[number]:8.3f} s" if number < len(seconds) else ""
        cut = "  its output was cut" if cell.get("output_cut") else ""
        style = {COMPLETED: "", "not_run": _QUIET}.get(str(cell["state"]), _BAD)
        yield f"  {cell['index'] + 1:>3}  {cell['state']:<9} {time}{cut}", style


def _gradients(run: RunSummary, record: Mapping[str, Any]) -> Told:
    if run.comparisons:
        yield f"\ngradients beside their references: {run.comparisons}, {run.failing} off; the worst", "bold"
    for ulps, row in worst_comparisons(record, _WORST):
        line = f"  {ulps:>8.3g} ulp  {row['verdict']:<4}  {_value(row['name'])}, {row.get('dtype')}"
        yield line, _BAD if row["verdict"] == FAIL else ""
    missed = [claim for claim in record["claims"] if not claim.get("holds")]
    for claim in missed:
        yield f"  does not hold: {_value(claim.get('sentence'), 200)}", _BAD


def _gradient(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    return f"{_value(row['value'], 24)} ({_value(row['ulps'], 12)} ulp, {row['verdict']})"
