"""What a judgement says of one exercise: data for the command line, the notebook and the run records."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any

from lab.finding import FINDING_MIME


class Status(enum.StrEnum):
    """How far an exercise is."""

    NOT_STARTED = "not started"
    WRONG = "wrong"
    SOLVED = "solved"
    NOT_JUDGED = "not judged"  # not in the dtype that was asked for


@dataclass(frozen=True)
class Judgement:
    """What was judged of one attempt.

    diagnosis: what is wrong, or what to do to start; nothing once solved. mistake: the name of the known
    mistake that it is, or nothing. hint: the one to begin with, and step, 1 to 3, its number. meaning: once solved,
    what it means for training. seed: draws the same trials again. comparisons: every number beside its reference, as
    lab.compare writes them. output: what the attempt printed.
    """

    id: str
    title: str
    status: Status
    diagnosis: str
    seed: int
    mistake: str = ""
    hint: str = ""
    step: int = 1
    meaning: str = ""
    comparisons: tuple[dict[str, Any], ...] = ()
    output: str = ""

    @property
    def solved(self) -> bool:
        """Whether nothing is left to do."""
        return self.status is Status.SOLVED

    def to_json(self) -> dict[str, Any]:
        """Return what ``lab exercises --json`` says of it."""
        told = ("id", "title", "status", "diagnosis", "mistake", "hint", "seed")
        return {name: value for name, value in self.to_record().items() if name in told}

    def to_record(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return asdict(self)

    @classmethod
    def from_record(cls, data: dict[str, Any]) -> Judgement:
        """Read what to_record wrote, also where it came as JSON."""
        return cls(**{**data, "status": Status(data["status"]), "comparisons": tuple(data["comparisons"])})

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return what a notebook shows and what a run reads back; a cell that was not started is no claim."""
        started = self.status is not Status.NOT_STARTED
        claims = [{"sentence": f"{self.id} is solved", "holds": self.solved}] if started else []
        return {"text/plain": str(self), FINDING_MIME: {"claims": claims, "comparisons": list(self.comparisons)}}

    def __str__(self) -> str:
        said = f"{self.title}: {self.status}. {self.diagnosis or self.meaning}".rstrip()
        return f"{said}\nHint: {self.hint}" if self.hint else said
