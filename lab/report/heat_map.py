"""The page of a verification: what failed and why, and a heat map of all operations in all dtypes.

One static file without scripts. All that it says stands in verify.json, which may come from another machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from lab.compare import FORMATS
from lab.prove.case import AXES
from lab.prove.rule import Verdict
from lab.report.scale import MARKS, STEPS, Mark, find_step, parse_ratio, write_log2, write_times

BLOCK = 16  # operations in one table of the heat map: its header is never far away, and blocks stand side by side
# A device that fails everywhere would make the page too long to open:
EXPLAINED = 250  # cells with all details, the furthest off first; of those after them a line is said
LISTED = 1500  # failing cases in all these details
NAMED = 40  # cells beside a cause

PRECISION = {str(dtype).removeprefix("torch."): form.precision for dtype, form in FORMATS.items()}


@dataclass(frozen=True)
class CellView:
    """A cell of the heat map. data: an entry of verify.json's operations."""

    data: dict[str, Any]

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return Verdict(self.data["verdict"])

    @property
    def mark(self) -> Mark:
        """What stands for the verdict."""
        return MARKS[self.verdict]

    @property
    def ratio(self) -> float:
        """The highest ratio."""
        return parse_ratio(self.data["ratio"])

    @property
    def is_partial(self) -> bool:
        """Whether only some of its cases are supported: without a failure, nothing else makes a ratio infinite."""
        return math.isinf(self.ratio) and not self.verdict.is_failure

    @property
    def shade(self) -> str:
        """The CSS class of its colour: its ratio's, or its verdict's where that is no matter of a ratio."""
        return self.mark.shade or ("unsupported" if self.is_partial else find_step(self.ratio).name)

    @property
    def number(self) -> str:
        """The log2 of the ratio, where the ratio says something."""
        if self.is_partial or self.verdict == Verdict.CRASH or (self.ratio == 0 and self.verdict != Verdict.PASS):
            return ""
        return write_log2(self.ratio)

    @property
    def anchor(self) -> str:
        """The id of its details."""
        return f"{self.data['op']}-{self.data['dtype']}"

    @property
    def gist(self) -> str:
        """What is to be said of it in one line."""
        cause: dict[str, str] = self.data["cause"] or {}
        return cause.get("summary") or self.data["worst"]["note"] or self.mark.meaning

    @property
    def axes(self) -> list[tuple[str, list[tuple[str, float | str]]]]:
        """The highest ratio for each value of each axis, in the order of the axes: JSON keeps none."""
        found = self.data["axes"]
        return [
            (axis, [(value, found[axis][value]) for value in known if value in found[axis]])
            for axis, known in AXES.items()
        ]

    @property
    def bits(self) -> str:
        """How many bits are right, of how many."""
        bits, dtype = self.data["bits"], self.data["dtype"]
        return "nothing was compared" if bits is None else f"{bits:.1f} of {PRECISION[dtype]}"


@dataclass(frozen=True)
class Row:
    """One operation. cells: one a dtype, None where nothing was asked for."""

    op: str
    cells: tuple[CellView | None, ...]


@dataclass(frozen=True)
class CauseGroup:
    """The failing cells that have one cause, the furthest off first. label: empty where no cause is known."""

    label: str
    summary: str
    cells: tuple[CellView, ...]


def verification_page(result: dict[str, Any]) -> str:
    """Return the page of a verification, the same bytes for the same result. result: what verify.json holds."""
    found = [CellView(cell) for cell in result["operations"]]
    failing = sorted((cell for cell in found if cell.verdict.is_failure), key=lambda cell: -cell.ratio)
    findings = _having(found, Verdict.WARN, Verdict.FORMULA, Verdict.ILLPOSED)
    noted = [*failing, *findings]
    return _template().render(
        result=result,
        headline=_headline(result, failing),
        counts=[(verdict, result["counts"][verdict]) for verdict in reversed(Verdict) if verdict in result["counts"]],
        groups=_group(failing),
        blocks=_blocks(_rows(found, result["selection"]["dtypes"])),
        failing=failing,
        findings=findings,
        explained=noted[:EXPLAINED],
        brief=noted[EXPLAINED:],
        unsupported=_having(found, Verdict.UNSUPPORTED),
        passing=_having(found, Verdict.PASS),
        named=NAMED,
        listed=LISTED // min(EXPLAINED, len(failing) or 1),
        probes=_weakest(result["probes"]),
        facts=_facts(result),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("lab.report", "."),
        autoescape=True,  # always: a note may hold whatever a kernel raised
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(steps=STEPS, meanings=MARKS)
    environment.filters.update(ratio=parse_ratio, step=find_step, log2=write_log2, times=write_times)
    return environment.get_template("verification.html.jinja")


def _headline(result: dict[str, Any], failing: Sequence[CellView]) -> str:
    """Say what the verdict rests on."""
    if result["verdict"] == "pass":
        passing, cells = result["counts"].get(Verdict.PASS, 0), len(result["operations"])
        return f"{passing:,} of {cells:,} cells" + (", no failure" if passing < cells else "")
    probes, changed = result["probes"], (result["soak"] or {}).get("differing", {})
    wrong = sum(not probe["passed"] for probe in probes)
    reasons = [
        f"{len(failing)} of {len(result['operations']):,} cells" if failing else "",
        f"{wrong} of {len(probes)} probes" if wrong else "",
        f"{len(changed)} of {result['soak']['cases']:,} cases of the soak" if changed else "",
    ]
    return ", ".join(filter(None, reasons))


def _having(cells: Iterable[CellView], *verdicts: Verdict) -> list[CellView]:
    return [cell for cell in cells if cell.verdict in verdicts]


def _group(failing: Iterable[CellView]) -> list[CauseGroup]:
    """Gather failing cells by their cause, in the order in which the causes come."""
    found: dict[tuple[str, str], list[CellView]] = {}
    for cell in failing:
        cause = cell.data["cause"] or {"label": "", "summary": "no cause was found"}
        found.setdefault((cause["label"], cause["summary"]), []).append(cell)
    return [CauseGroup(label, summary, tuple(cells)) for (label, summary), cells in found.items()]


def _rows(cells: Iterable[CellView], dtypes: Sequence[str]) -> list[Row]:
    """Return a row for each operation, in their order."""
    found: dict[str, dict[str, CellView]] = {}
    for cell in cells:
        found.setdefault(cell.data["op"], {})[cell.data["dtype"]] = cell
    return [Row(op, tuple(of_op.get(dtype) for dtype in dtypes)) for op, of_op in found.items()]


def _blocks(rows: list[Row]) -> list[list[Row]]:
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]


def _weakest(probes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the least of the answers to each kind of question in each dtype, and how many were exact."""

    def kind(probe: dict[str, Any]) -> tuple[str, str]:
        return probe["kind"], probe["dtype"]

    found = []
    for _, group in groupby(sorted(probes, key=kind), key=kind):
        asked = list(group)
        least = min(asked, key=lambda probe: int(probe["measured"]) - int(probe["expected"]))
        found.append({**least, "exact": sum(probe["passed"] for probe in asked), "asked": len(asked)})
    return found


def _facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what was run, and where, as names with values."""
    selection, lock = result["selection"], result["lock"]
    known = {key: value for key, value in sorted(result["environment"].items()) if key not in ("device", "switches")}
    facts = {
        "device": result["device"],
        **{key.replace("_", " "): str(value) for key, value in known.items() if value is not None},
        "backend": result["backend"],
        "operations": ", ".join(selection["ops"]),
        "dtypes": ", ".join(selection["dtypes"]),
        **{axis: ", ".join(values) for axis, values in sorted(selection["axes"].items())},
        "cases": "quick: small, one change at a time" if selection["quick"] else "all",
        **({"deep": "PyTorch’s own database of operations as well"} if selection["deep"] else {}),
        "seed": str(selection["seed"]),
        "packages": f"{lock['source']}, {lock['digest']}",
        "took": f"{result['timing']['seconds']:.1f} s",
    }
    return list(facts.items())
