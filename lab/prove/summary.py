"""A verification in the terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.prove.probes import Probe
from lab.prove.result import CaseResult, Cause, Cell
from lab.prove.verification import Verification

_STYLES = {"pass": "green", "warn": "yellow", "formula": "yellow", "illposed": "yellow", "unsupported": "dim"}
SHOWN = 12  # failing operations that are listed; the page has all
EXPLAINED = 3  # causes that are told in full


def print_summary(found: Verification, folder: Path, console: Console) -> None:
    """Print what was verified, what failed and why."""
    facts = found.environment
    backend = "" if found.target.backend.name == "plain" else f", {found.target.backend.about}"
    console.print(f"{found.target.device}: {facts['device_name']}, torch {facts['torch']}{backend}", style="bold")
    operations = len({cell.op for cell in found.cells})
    console.print(f"{operations} operations, {found.cases:,} cases, {found.comparisons:,} gradients compared")
    counts = Text("operation × dtype: ")
    for verdict, count in found.counts.items():
        counts.append(f"{verdict} {count}  ", style=_STYLES.get(verdict, "bold red"))
    console.print(counts)
    for line in probe_lines(found.probes):
        console.print(line)
    if found.soak:
        soak = found.soak
        console.print(
            f"soak: {soak['runs']:,} runs of {soak['cases']:,} cases in {soak['rounds']} rounds, "
            f"{len(soak['differing'])} cases changed a bit"
        )
    if found.failing:
        console.print(failure_table(found.failing))
        for cause in _distinct(found.failing):
            print_cause(cause, found.reproduce(cause.case), console)
    console.print(f"Report: {folder / 'index.html'}", soft_wrap=True)


def probe_lines(probes: tuple[Probe, ...]) -> Iterator[Text]:
    """Say what each kind of probe found in each dtype: the least of its answers."""
    by_kind = sorted(probes, key=lambda probe: (probe.dtype, probe.kind))
    for (dtype, kind), group in groupby(by_kind, key=lambda probe: (probe.dtype, probe.kind)):
        least = min(group, key=lambda probe: probe.measured - probe.expected)
        style = "green" if least.passed else "bold red"
        name = "" if least.passed else f" ({least.name})"
        yield Text(f"probe {kind}, {dtype}: {least.measured} of {least.expected} {least.unit}{name}", style=style)


def failure_table(failing: list[Cell]) -> Table:
    """Return the failing operations, the worst first."""
    table = Table(box=None, pad_edge=False, title_justify="left", header_style="bold")
    for name in ("operation", "dtype", "verdict", "× allowed", "cause"):
        table.add_column(name, no_wrap=name != "cause", justify="right" if name.startswith("×") else "left")
    for cell in sorted(failing, key=lambda cell: -cell.ratio)[:SHOWN]:
        cause = cell.cause.summary if cell.cause else ""
        table.add_row(cell.op, cell.dtype, str(cell.verdict), f"{cell.ratio:.3g}", cause)
    if len(failing) > SHOWN:
        table.add_row(f"… and {len(failing) - SHOWN} more", "", "", "", "")
    return table


def print_cause(cause: Cause, command: str, console: Console) -> None:
    """Print a cause with its evidence and what to type for the one case."""
    console.print()
    console.print(f"{cause.label}: {cause.summary}", style="bold", markup=False)
    for evidence in cause.evidence:
        console.print(f"  {evidence}", markup=False)
    console.print(f"  {command}", style="cyan", soft_wrap=True, markup=False)


def print_case(result: CaseResult, cause: Cause | None, console: Console) -> None:
    """Print what is to be said of one case."""
    console.print(result.case, style="bold", soft_wrap=True, markup=False)
    if result.bits >= 0:
        console.print(
            f"{result.verdict}: {result.ratio:.3g} times what arithmetic allows, {result.bits:.1f} bits right"
        )
    else:
        console.print(f"{result.verdict}")
    if result.note:
        console.print(result.note, markup=False)
    if cause:
        console.print(f"{cause.label}: {cause.summary}", markup=False)
        for evidence in cause.evidence:
            console.print(f"  {evidence}", markup=False)


def _distinct(failing: list[Cell]) -> list[Cause]:
    """Return one cause of each label, of the operation that is furthest off."""
    found: dict[str, Cause] = {}
    for cell in sorted(failing, key=lambda cell: -cell.ratio):
        if cell.cause:
            found.setdefault(cell.cause.label, cell.cause)
    return list(found.values())[:EXPLAINED]
