"""What the cells of a notebook found, read back from their outputs: comparisons, claims, pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lab.finding import FINDING_MIME, Findings


def read_findings(cells: Iterable[Mapping[str, Any]]) -> Findings:
    """Read the findings from executed cells, pictures by file name.

    What only looks like a finding is left out: a cell may display anything.
    """
    found = Findings()
    for data in _displayed(cells):
        finding = data.get(FINDING_MIME)
        if not isinstance(finding, dict):
            continue
        found.comparisons += _rows(finding.get("comparisons"))
        found.claims += _rows(finding.get("claims"))
        if isinstance(name := finding.get("picture"), str):
            # nbformat keeps text as a string or as a list of lines.
            found.pictures[file_name(name)] = "".join(data.get("image/svg+xml", ""))
    return found


def _rows(data: Any) -> list[dict[str, Any]]:
    return [strict(row) for row in data if isinstance(row, dict)] if isinstance(data, list) else []


def _displayed(cells: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for cell in cells:
        for output in cell.get("outputs", []):
            yield output.get("data", {})


def file_name(name: str) -> str:
    """Return a picture's file name; whatever could leave the folder or puzzle a shell becomes a hyphen."""
    return (re.sub(r"[^\w-]+", "-", name).strip("-")[:80] or "picture") + ".svg"


def strict(data: Any) -> Any:
    """Return plain data that strict JSON can hold: nan, inf and -inf become strings, as in lab.compare."""
    if isinstance(data, dict):
        return {str(key): strict(value) for key, value in data.items()}
    if isinstance(data, list):
        return [strict(value) for value in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data
