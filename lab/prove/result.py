"""What was found: plain, frozen, and all that the terminal, the files and the page read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lab.prove.rule import Verdict, badness, worst


@dataclass(frozen=True)
class CaseResult:
    """The worst that is to be said of one case.

    ratio: the score of the rule, above 1 a failure; infinite where something is not finite that should be. bits: how
    many bits of the gradient are right, the median; -1 where nothing was compared. note: in words what else there is.
    """

    case: str
    verdict: Verdict
    ratio: float = 0.0
    bits: float = -1.0
    input: int = -1
    note: str = ""


@dataclass(frozen=True)
class ChunkResult:
    """The cases of one operation, sample and dtype. comparisons: gradients that were compared."""

    op: str
    sample: str
    dtype: str
    comparisons: int
    cases: tuple[CaseResult, ...]

    @property
    def id(self) -> str:
        """The chunk in one word."""
        return f"{self.op}/{self.sample}/{self.dtype}"

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ChunkResult:
        """Return the result that a line of the journal holds."""
        cases = tuple(
            CaseResult(row[0], Verdict(row[1]), math.inf if row[2] == "inf" else row[2], *row[3:])
            for row in data["cases"]
        )
        return cls(data["op"], data["sample"], data["dtype"], data["comparisons"], cases)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the journal, each case a row."""
        rows = [
            [c.case, str(c.verdict), c.ratio if math.isfinite(c.ratio) else "inf", c.bits, c.input, c.note]
            for c in self.cases
        ]
        return {**asdict(self), "cases": rows}


@dataclass(frozen=True)
class Cause:
    """Why something fails. label: one of those in diagnose.py. evidence: what shows it. reproduce: what to type."""

    label: str
    summary: str
    evidence: tuple[str, ...]
    case: str


@dataclass(frozen=True)
class Cell:
    """One operation in one dtype: a cell of the heat map, a test case of the JUnit file."""

    op: str
    dtype: str
    cases: tuple[CaseResult, ...]
    comparisons: int
    cause: Cause | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict. UNSUPPORTED only where nothing could be run."""
        said = [case.verdict for case in self.cases]
        if set(said) == {Verdict.UNSUPPORTED}:
            return Verdict.UNSUPPORTED
        return worst([verdict for verdict in said if verdict is not Verdict.UNSUPPORTED])

    @property
    def worst(self) -> CaseResult:
        """The case with the worst verdict, the highest ratio among these."""
        candidates = [case for case in self.cases if case.verdict is self.verdict] or list(self.cases)
        return max(candidates, key=lambda case: (badness(case.verdict), case.ratio))

    @property
    def ratio(self) -> float:
        """The highest ratio."""
        return max((case.ratio for case in self.cases), default=0.0)

    @property
    def bits(self) -> float | None:
        """The median over the cases of their right bits, None where nothing was compared."""
        bits = sorted(case.bits for case in self.cases if case.bits >= 0)
        return bits[len(bits) // 2] if bits else None


def cells(chunks: Iterable[ChunkResult], causes: dict[tuple[str, str], Cause]) -> list[Cell]:
    """Gather the chunks of each operation and dtype, in their order. ``deep:add#3`` is a sample of ``deep:add``."""
    order: dict[tuple[str, str], list[ChunkResult]] = {}
    for chunk in chunks:
        order.setdefault((chunk.op.partition("#")[0], chunk.dtype), []).append(chunk)
    return [
        Cell(
            op,
            dtype,
            tuple(case for chunk in of_cell for case in chunk.cases),
            sum(chunk.comparisons for chunk in of_cell),
            causes.get((op, dtype)),
        )
        for (op, dtype), of_cell in order.items()
    ]
