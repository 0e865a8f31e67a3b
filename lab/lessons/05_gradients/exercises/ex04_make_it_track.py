"""Make it track.

Pixels, labels and token ids arrive as whole numbers, parameters have to be
floating point: a gradient answers what a small nudge would do, and a whole
number cannot be nudged a little. The order matters too. What a conversion
makes of a tensor that already tracks is a result, and an optimiser refuses
it: "can't optimize a non-leaf Tensor".
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

from lab.practise import (
    AnswerError,
    Attempt,
    Check,
    Input,
    Mistake,
    Trial,
    Value,
    Values,
    describe,
    read_value,
)


def make_it_track(n: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a leaf that tracks, with the shape and the values of n.

    n holds whole numbers, its dtype is torch.int64, and it may have any
    shape. dtype is the floating point dtype that the leaf has to have. The
    leaf lies on the device of n, and a backward() that reaches it fills its
    .grad. n itself stays as it is. Of n = tensor([3, 5]) and torch.float32
    you make tensor([3., 5.], requires_grad=True).
    """
    return n.to(dtype).requires_grad_()


HINTS = (
    "Can a 3 be nudged to 3.001 and still be a whole number? And which comes "
    "first: tracking, or the other dtype?",
    "Look up torch.Tensor.to, which makes a new tensor of another dtype, and "
    "torch.Tensor.requires_grad_, which makes one track from here on.",
    "x = n.____(dtype) has the values and does not track yet; x.____() makes "
    "it track and returns it.",
)


def on_whole_numbers(n: Tensor, dtype: torch.dtype) -> Tensor:
    """PyTorch refused: a tensor of whole numbers can never track.

    If you had called n.to(dtype) before, its result was lost: to() leaves n
    as it is and returns another tensor. Track the one in floating point.
    """
    return n.requires_grad_()


def made_of_whole_numbers(n: Tensor, dtype: torch.dtype) -> Tensor:
    """PyTorch refused to make it: of whole numbers it makes a tensor of whole
    numbers, and those can never track.

    requires_grad=True asks for tracking, not for another dtype. You were
    given the dtype as well: say both.
    """
    return torch.tensor(n.tolist(), requires_grad=True)


def n_itself(n: Tensor, dtype: torch.dtype) -> Tensor:
    """You returned whole numbers, as they came.

    A leaf that tracks is another tensor, in floating point. to() makes it and
    leaves n as it is, so take what to() returns.
    """
    n.to(dtype)
    return n


def not_tracked(n: Tensor, dtype: torch.dtype) -> Tensor:
    """The values and the dtype are right, but it does not track: a new tensor
    does so only where somebody asks for it.

    Or it did, and detach() or no_grad() made another one of it that does
    not.
    """
    return n.to(dtype)


def converted_last(n: Tensor, dtype: torch.dtype) -> Tensor:
    """That is no leaf wherever the last conversion had something to do, as
    here, where {dtype} is wanted.

    A conversion of a tensor that tracks is an operation like any other: what
    it returns is a result, and the .grad of a result stays None. Convert
    first.
    """
    return n.to(torch.float32).requires_grad_().to(dtype)


def computed_from_a_leaf(n: Tensor, dtype: torch.dtype) -> Tensor:
    """It tracks, but it is no leaf: an operation made it of a tensor that
    tracked before.

    clone(), to() and even + 0 are operations. The gradient goes on to the
    tensor that they were given, which nobody has any more, and the .grad of
    yours stays None. Make it track as the last step.
    """
    return n.to(dtype).requires_grad_().clone()


def always_float32(n: Tensor, dtype: torch.dtype) -> Tensor:
    """A leaf that tracks, but in {got[dtype]}, and {want[dtype]} is wanted.

    float() makes float32 of anything. The dtype that is wanted is the second
    argument.
    """
    return n.float().requires_grad_()


def values_lost(n: Tensor, dtype: torch.dtype) -> Tensor:
    """A leaf that tracks, full of zeros: n was {n}.

    zeros_like() and zeros() take a shape and no values. The leaf has to hold
    those of n.
    """
    return torch.zeros_like(n, dtype=dtype, requires_grad=True)


def n_overwritten(n: Tensor, dtype: torch.dtype) -> Tensor:
    """The leaf is right, but it is n itself: whoever gave you whole numbers
    now holds floating point ones that track.

    Labels that change their dtype no longer serve as an index. Make another
    tensor and leave n alone.
    """
    n.data = n.to(dtype)
    return n.requires_grad_()


def literal(n: Tensor, dtype: torch.dtype) -> Tensor:
    """Right for [3, 5] and nothing else: the numbers are typed in. At n = {n}
    they are others. Take them from n.
    """
    return torch.tensor([3.0, 5.0], dtype=dtype, requires_grad=True)


def plus_nothing(n: Tensor) -> bool:
    """False: adding nothing is an operation too, and what an operation makes
    of a tensor that tracks is a result.
    """
    x = n + 0
    return x.is_leaf


def nothing_to_convert(n: Tensor) -> bool:
    """True: where the dtype is right already, to() has nothing to do and
    returns n itself. So the same line gives a leaf on one machine and a
    result on another.
    """
    x = n.to(n.dtype)
    return x.is_leaf


def back_to_whole_numbers(n: Tensor) -> Tensor:
    """It raises a RuntimeError: whole numbers cannot be nudged, so they
    cannot track.
    """
    x = n.long()
    return x.requires_grad_()


def draw(rng: random.Random) -> dict[str, Input]:
    n: list[Any] = [float(rng.randint(1, 9)) for _ in range(4)]
    shaped = rng.choice((n[0], n[:3], n, [n[:2], n[2:]]))
    # Neither dtype is what float() makes, nor what is tried first.
    return {"n": shaped, "dtype": rng.choice(("float16", "bfloat16"))}


def observe(attempt: Attempt, trial: Trial) -> Values:
    n = trial.tensor("n").long()
    x = attempt(n, getattr(torch, str(trial.inputs["dtype"])))
    if not isinstance(x, Tensor):
        forgotten = " Is there a return?" if x is None else ""
        raise AnswerError(
            f"It returned {describe(x)}.{forgotten} Expected a tensor."
        )
    return {
        "its values": read_value(x),
        "dtype": str(x.dtype).removeprefix("torch."),
        "it lies where n lies": x.device == n.device,
        "it tracks": x.requires_grad,
        "it is a leaf": x.is_leaf,
        "its .grad after a backward()": _gradient(x),
        "n afterwards": read_value(n),
        "n still holds whole numbers": n.dtype is torch.int64,
    }


def _gradient(x: Tensor) -> Value:
    """Return what backward() of a sum of squares leaves in x.grad: 2x."""
    loss = (x**2).sum()
    if not (x.is_leaf and loss.requires_grad):
        return None
    loss.backward()
    return read_value(x.grad)


def _doubled(n: list[Any] | float) -> Value:
    return [_doubled(part) for part in n] if isinstance(n, list) else 2 * n


def expected(trial: Trial) -> Values:
    return {
        "its values": trial.inputs["n"],
        "dtype": trial.inputs["dtype"],
        "it lies where n lies": True,
        "it tracks": True,
        "it is a leaf": True,
        "its .grad after a backward()": _doubled(trial.inputs["n"]),
        "n afterwards": trial.inputs["n"],
        "n still holds whole numbers": True,
    }


CHECK = Check(
    solution=make_it_track,
    first={"n": [3.0, 5.0], "dtype": "float32"},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(on_whole_numbers, hint=1),
        Mistake(made_of_whole_numbers, hint=1),
        Mistake(n_itself, hint=1),
        Mistake(not_tracked, hint=2),
        Mistake(converted_last, hint=1),
        Mistake(computed_from_a_leaf, hint=3),
        Mistake(always_float32, hint=2),
        Mistake(values_lost, hint=2),
        Mistake(n_overwritten, hint=2),
        Mistake(literal, hint=3),
    ),
    predictions=(plus_nothing, nothing_to_convert, back_to_whole_numbers),
)
