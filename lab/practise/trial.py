"""One trial of an exercise: what goes into an attempt and what was observed of it, plain data both ways.

Needs no torch until a tensor is asked for, so that a judge can handle trials at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# A float is a number and compared within the tolerance of its dtype; anything else has to be equal.
Value = float | bool | str | None
Values = Mapping[str, Value]
Attempt = Callable[..., Any]


class AnswerError(Exception):
    """An answer that is no answer to this exercise, such as one tensor where two are asked for."""


@dataclass(frozen=True)
class Trial:
    """What an attempt is tried on.

    inputs: numbers by name. factor: the secret that each gradient is multiplied by on its way to a leaf.
    dtype and device: names, of every tensor in the trial.
    """

    inputs: Mapping[str, float]
    factor: float
    dtype: str
    device: str

    def leaf(self, name: str) -> Tensor:
        """Return an input as a leaf, shape (), whose hook multiplies its gradient by the secret factor.

        Both backward() and torch.autograd.grad run the hook, accumulation comes after it. What does not
        go through the graph misses it: a literal, a formula worked out by hand, a finite difference.
        """
        import torch

        dtype = getattr(torch, self.dtype)
        leaf = torch.tensor(self.inputs[name], dtype=dtype, device=self.device, requires_grad=True)
        leaf.register_hook(lambda gradient: gradient * self.factor)
        return leaf

    def __str__(self) -> str:
        return ", ".join(f"{name} = {show(number)}" for name, number in self.inputs.items())


@dataclass(frozen=True)
class Raised:
    """An exception that ended a trial. line: where in the attempt's own file, if it was there."""

    type: str
    message: str
    line: int | None


@dataclass(frozen=True)
class Observation:
    """What an attempt did in one trial: its values by name, or what it raised instead."""

    values: Values
    raised: Raised | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the observation as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Observation:
        """Read what to_json wrote. Raises: KeyError, TypeError or ValueError for anything else."""
        values, raised = dict(data["values"]), data["raised"]
        if raised is None:
            return cls(values)
        line = raised["line"]
        return cls(values, Raised(str(raised["type"]), str(raised["message"]), line and int(line)))


def read_answer(answer: object, *names: str) -> dict[str, Value]:
    """Give the numbers that an attempt returned their names.

    Raises: AnswerError where it returned another number of them.
    """
    try:
        parts = tuple(answer)  # type: ignore[arg-type, var-annotated]  # what is not iterable is answered below
    except TypeError:
        parts = None
    if parts is None or len(parts) != len(names):
        found = describe(answer) if parts is None else f"{len(parts)} values"
        forgotten = " Is there a return?" if answer is None else ""
        raise AnswerError(f"It returned {found}.{forgotten} Expected {len(names)} values: {', '.join(names)}.")
    return {name: read_number(part) for name, part in zip(names, parts, strict=True)}


def read_number(answer: Any) -> Value:
    """Return a scalar, a tensor's or a plain one, as a float, None as None, anything else as words for it."""
    number = answer.item() if getattr(answer, "shape", None) == () else answer
    if isinstance(number, int | float) and not isinstance(number, bool):
        return float(number)
    return None if answer is None else describe(answer)


def describe(answer: object) -> str:
    """Say what something is, in a few words: ``a tensor of shape (3,)``, ``a str``, ``None``."""
    shape = getattr(answer, "shape", None)
    if isinstance(shape, tuple):
        return f"a tensor of shape {tuple(shape)}"
    return "None" if answer is None else f"a {type(answer).__name__}"


def show(value: Value) -> str:
    """Show a value in a diagnosis: a number in six digits, everything else in Python's words."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
