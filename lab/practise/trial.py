"""One trial of an exercise: what goes into an attempt and what was observed of it, plain data both ways.

Needs no torch until a tensor is asked for, so that a judge can handle trials at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# A number, or a tensor of any shape as nested lists of numbers.
Input = float | str | list[Any]
# Floats are compared within the tolerance of their dtype, also in lists; anything else has to be equal.
Value = float | bool | str | None | list[Any]
Values = Mapping[str, Value]
Attempt = Callable[..., Any]


class AnswerError(Exception):
    """An answer that is no answer to this exercise, such as one tensor where two are asked for."""


@dataclass(frozen=True)
class Trial:
    """What an attempt is tried on.

    inputs: numbers, nested lists of them (a tensor) or words, by name. factor: the secret that each gradient is
    multiplied by on its way to a leaf. dtype and device: names, of every tensor in the trial.
    """

    inputs: Mapping[str, Any]  # each an Input; its author knows which
    factor: float
    dtype: str
    device: str

    def tensor(self, name: str) -> Tensor:
        """Return an input as a tensor that does not require grad, of the shape that its lists have."""
        import torch

        return torch.tensor(self.inputs[name], dtype=getattr(torch, self.dtype), device=self.device)

    def leaf(self, name: str) -> Tensor:
        """Return an input as a leaf whose hook multiplies its gradient by the secret factor.

        Both backward() and torch.autograd.grad run the hook, accumulation comes after it. What does not
        go through the graph misses it: a literal, a formula worked out by hand, a finite difference. A second
        derivative goes through it twice. torch.func works on copies and misses it: use secret() there.
        """
        leaf = self.tensor(name).requires_grad_()
        leaf.register_hook(lambda gradient: gradient * self.factor)
        return leaf

    def secret(self, x: Tensor) -> Tensor:
        """Return x, (...), unchanged; what is differentiated through it is multiplied by the secret factor.

        For functions that the judge hands to an attempt. It works under torch.func too, in both modes.
        """
        from lab.practise.secret import multiply_gradient

        return multiply_gradient(x, self.factor)

    def __str__(self) -> str:
        return ", ".join(f"{name} = {show(number)}" for name, number in self.inputs.items())


@dataclass(frozen=True)
class Raised:
    """An exception that ended a trial. line: where in the attempt's own file, if it was there. own: raised there."""

    type: str
    message: str
    line: int | None
    own: bool = False


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
        told = str(raised["type"]), str(raised["message"]), line and int(line), bool(raised["own"])
        return cls(values, Raised(*told))


@dataclass(frozen=True)
class Reply:
    """What came back of an attempt.

    observations: one a trial, or None. failure: why there are none. output: what it printed.
    """

    observations: list[Observation] | None
    failure: str = ""
    output: str = ""


def read_answer(answer: object, *names: str, read: Callable[[Any], Value] | None = None) -> dict[str, Value]:
    """Give what an attempt returned its names. read: what each is read by, read_number unless told.

    Raises: AnswerError where it returned another number of them.
    """
    try:
        parts = tuple(answer)  # type: ignore[arg-type, var-annotated]  # what is not iterable is answered below
    except TypeError:
        parts = None
    if parts is None or len(parts) != len(names):
        found = describe(answer) if parts is None else f"{len(parts)} value{'s' if len(parts) != 1 else ''}"
        forgotten = " Is there a return?" if answer is None else ""
        raise AnswerError(f"It returned {found}.{forgotten} Expected {len(names)} values: {', '.join(names)}.")
    return {name: (read or read_number)(part) for name, part in zip(names, parts, strict=True)}


def read_number(answer: Any) -> Value:
    """Return a scalar, a tensor's or a plain one, as a float, None as None, anything else as words for it."""
    number = answer.item() if getattr(answer, "shape", None) == () else answer
    if isinstance(number, int | float) and not isinstance(number, bool):
        return float(number)
    return None if answer is None else describe(answer)


def read_value(answer: Any) -> Value:
    """Return an answer as plain data: numbers as floats, tensors and sequences as lists, else words for it."""
    if isinstance(answer, bool | str | None):
        return answer
    if isinstance(answer, list | tuple):
        return [read_value(part) for part in answer]
    if hasattr(answer, "shape") and hasattr(answer, "tolist"):
        return read_value(answer.tolist())
    return read_number(answer)


def describe(answer: object) -> str:
    """Say what something is, in a few words: ``a tensor of shape (3,)``, ``a str``, ``None``."""
    shape = getattr(answer, "shape", None)
    if isinstance(shape, tuple):
        return f"a tensor of shape {tuple(shape)}"
    name = type(answer).__name__
    return "None" if answer is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def numbers_in(value: Value | Input) -> Iterator[float]:
    """Yield the numbers of a value in their order."""
    if isinstance(value, list):
        for part in value:
            yield from numbers_in(part)
    elif isinstance(value, float):
        yield value


def shape_of(value: Value) -> tuple[int, ...] | None:
    """Return the shape of the tensor that a value is, () for a number; None for what is no tensor of numbers."""
    if isinstance(value, float):
        return ()
    if not isinstance(value, list):
        return None
    shapes = {shape_of(part) for part in value}
    if len(shapes) > 1 or None in shapes:
        return None
    return (len(value), *next(iter(shapes), ()))  # type: ignore[misc]  # None is not among them


_SHOWN = 12  # numbers of a tensor that a sentence can take


def show(value: Value | Input) -> str:
    """Show a value in a diagnosis: a number in six digits, a list of them in brackets, all else in Python's words."""
    if isinstance(value, list):
        some = [show(part) for part in value[:_SHOWN]]
        return f"[{', '.join(some)}{', …' if len(value) > _SHOWN else ''}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
