"""Defects that are known and written up: a failure that is one of them says so. It stays a failure."""

from __future__ import annotations

from dataclasses import dataclass

from lab.device import DTYPES
from lab.prove.case import Case


@dataclass(frozen=True)
class Known:
    """One row. op, dtypes, kind: where it shows; op may be part of a name. about: one sentence for the evidence."""

    op: str
    dtypes: tuple[str, ...]
    kind: str
    about: str


_HALVES = ("bfloat16", "float16")
KNOWN = (
    Known("grid_sample", _HALVES, "cpu", "known: 16-bit offsets into the picture wrap round; docs/findings.md"),
    Known("take_along_dim", DTYPES, "cpu", "known: without a dimension it wants memory in order; docs/findings.md"),
    Known("matrix_exp", _HALVES, "cpu", "known: the series is evaluated wrongly; docs/findings.md"),
)


def known_about(case: Case, kind: str) -> list[str]:
    """Return what is known about a failing case on a kind of device."""
    return [row.about for row in KNOWN if row.op in case.op and case.dtype in row.dtypes and row.kind == kind]
