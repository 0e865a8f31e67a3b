"""Gradcheck.

A derivative that somebody wrote can be wrong, and training hides it: the loss
still goes down, only not as far. gradcheck() compares it with differences of
the function. It does so in double precision, because a step that is small
enough leaves no digits of the difference in single.
"""

# torch.autograd does not say that it exports gradcheck, and Function's own
# methods take *args.
# mypy: disable-error-code="attr-defined,misc,no-untyped-call,override"

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
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
)


def wrong_partial(
    f: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    z: Tensor,
) -> str:
    """Return which partial derivative of f is wrong: "x", "y", "z" or "none".

    f(x, y, z) is a scalar tensor. Its value is right, but its backward pass
    was written by hand, and one of the partial derivatives df/dx, df/dy and
    df/dz may be wrong, by as little as one part in 64. Find it out at the x,
    y and z that are given: scalar tensors in float32 (or a shorter dtype)
    that do not require grad. f computes in the dtype of what it is called
    with. If all three derivatives are right, return "none".
    """
    for i, name in enumerate("xyz"):
        inputs = [t.cpu().double() for t in (x, y, z)]
        inputs[i].requires_grad_()
        if not torch.autograd.gradcheck(f, inputs, raise_exception=False):
            return name
    return "none"


HINTS = (
    "How many digits does float32 have, and how many of them are left in the "
    "difference of two values of f that lie a millionth apart?",
    "Look up torch.autograd.gradcheck, its argument raise_exception, and "
    "torch.Tensor.double. It checks the inputs that require grad and no "
    "others.",
    "inputs = [t.____() for t in (x, y, z)], one of them requires grad, and "
    "torch.autograd.gradcheck(f, inputs, ____=False) answers for that one.",
)


def single_precision(
    f: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    z: Tensor,
) -> str:
    """You accused {got[the wrong partial]} in too little precision, where
    gradcheck() finds fault with what is right; it warns of that.

    It nudges an input by a millionth. float32 has seven digits, so the
    difference of two values of f has hardly any left. Look at the dtype of x,
    y and z.
    """
    for i, name in enumerate("xyz"):
        inputs = [t.clone() for t in (x, y, z)]
        inputs[i].requires_grad_()
        if not torch.autograd.gradcheck(f, inputs, raise_exception=False):
            return name
    return "none"


def loose(
    f: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    z: Tensor,
) -> str:
    """You found nothing, where the derivative for {want[the wrong partial]}
    is off by one part in 64: your tolerance is wider than the fault.

    A wide tolerance also silences a check that is done in too little
    precision. In double precision the tolerances of gradcheck() can stay as
    they are.
    """
    for i, name in enumerate("xyz"):
        inputs = [t.cpu().double() for t in (x, y, z)]
        inputs[i].requires_grad_()
        if not torch.autograd.gradcheck(
            f, inputs, rtol=0.1, raise_exception=False
        ):
            return name
    return "none"


def all_tracked(
    f: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    z: Tensor,
) -> str:
    """You accused x, and the fault is in {want[the wrong partial]}: all three
    inputs required grad, so the first gradcheck() found a fault, whichever
    input it belongs to.

    gradcheck() checks every input that requires grad. Let it be one at a
    time.
    """
    for name in "xyz":
        inputs = [t.cpu().double().requires_grad_() for t in (x, y, z)]
        if not torch.autograd.gradcheck(f, inputs, raise_exception=False):
            return name
    return "none"


def by_elimination(
    f: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    z: Tensor,
) -> str:
    """You accused {got[where none is wrong]} where nothing is wrong: the last
    one was not checked, it was left over.

    That the others are right says nothing about it. Check all three.
    """
    for i, name in enumerate("xy"):
        inputs = [t.cpu().double() for t in (x, y, z)]
        inputs[i].requires_grad_()
        if not torch.autograd.gradcheck(f, inputs, raise_exception=False):
            return name
    return "z"


def let_it_raise(
    f: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    z: Tensor,
) -> str:
    """gradcheck() raised, Jacobian mismatch, and your function ended there.

    That is how it tells a fault. Let it answer True or False instead, or
    catch the exception. If it then finds fault with every input, look at
    their dtype.
    """
    inputs = [t.cpu().double().requires_grad_() for t in (x, y, z)]
    torch.autograd.gradcheck(f, inputs)
    return "none"


def untracked(
    f: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    z: Tensor,
) -> str:
    """gradcheck() raises: none of its inputs requires grad, so there is no
    derivative to check.

    x, y and z come without it. Which one requires grad decides which
    derivative is checked.
    """
    for name in "xyz":
        inputs = [t.cpu().double() for t in (x, y, z)]
        if not torch.autograd.gradcheck(f, inputs, raise_exception=False):
            return name
    return "none"


def a_millionth_apart(x: Tensor) -> bool:
    """False. In float32 the next number after 2 is a quarter of a millionth
    away. The nudge is rounded to such steps, the square is rounded once more,
    and the quotient is off by several per cent.
    """
    step = 1e-6
    slope = ((x + step) ** 2 - x**2) / step
    return abs(slope.item() - 2 * x.item()) < 0.01 * 2 * x.item()


class _Faulty(torch.autograd.Function):
    """f = x·y·z, one of whose partials may be multiplied by 1 + fault."""

    # With setup_context, so that torch.func can differentiate it as well.
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, y: Tensor, z: Tensor, wrong: str, fault: float
    ) -> Tensor:
        return x * y * z

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *point, ctx.wrong, ctx.fault = inputs
        ctx.save_for_backward(*point)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        x, y, z = ctx.saved_tensors
        partials = {"x": y * z, "y": x * z, "z": x * y}
        if ctx.wrong in partials:
            partials[ctx.wrong] *= 1 + ctx.fault
        return (*(cotangent * p for p in partials.values()), None, None)


def draw(rng: random.Random) -> dict[str, Input]:
    point = {name: rng.randrange(6, 25) / 8 for name in "xyz"}
    fault = rng.choice((-1 / 32, -1 / 64, 1 / 64, 1 / 32))
    return {**point, "wrong": rng.choice("xyz"), "fault": fault}


def observe(attempt: Attempt, trial: Trial) -> Values:
    name, asked = _ask(attempt, trial, trial.inputs["wrong"])
    # Not expected of a right answer, which may find the fault before z: it
    # tells a tolerance that is too wide from a loop that ends early.
    found: dict[str, Value] = {
        "the wrong partial": name,
        "z was checked": "z" in asked,
    }
    if _is_first(trial):
        found["where none is wrong"], _ = _ask(attempt, trial, "none")
    return found


def _is_first(trial: Trial) -> bool:
    """The first trial also asks about an f without a fault. Once is enough:
    gradcheck() takes its time.
    """
    return trial.factor == 1


def _ask(
    attempt: Attempt, trial: Trial, wrong: Input
) -> tuple[str, set[str]]:
    """Return the attempt's answer and which inputs required grad in f."""
    asked: set[str] = set()

    def f(*inputs: Tensor) -> Any:
        asked.update(
            name
            for name, t in zip("xyz", inputs, strict=True)
            if t.requires_grad
        )
        return _Faulty.apply(*inputs, wrong, trial.inputs["fault"])

    # gradcheck() warns of single precision, and a diagnosis tells it.
    with warnings.catch_warnings(action="ignore"):
        answer = attempt(f, *map(trial.tensor, "xyz"))
    if not isinstance(answer, str):
        raise AnswerError(
            f"It returned {describe(answer)}. Expected the name of the input "
            "whose derivative is wrong, 'x', 'y' or 'z', or 'none'."
        )
    if not asked:
        raise AnswerError(
            f"It returned {answer!r} and never asked f for a derivative. "
            "Which one is wrong is another one in each trial."
        )
    return answer, asked


def expected(trial: Trial) -> Values:
    wanted = {"the wrong partial": trial.inputs["wrong"]}
    if _is_first(trial):
        wanted["where none is wrong"] = "none"
    return wanted


CHECK = Check(
    solution=wrong_partial,
    first={"x": 2.0, "y": 3.0, "z": 1.5, "wrong": "z", "fault": 1 / 64},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(single_precision, hint=1),
        Mistake(loose, hint=1),
        Mistake(all_tracked, hint=2),
        Mistake(by_elimination, hint=2),
        Mistake(let_it_raise, hint=3),
        Mistake(untracked, hint=3),
    ),
    # In float64 the inputs would come as gradcheck() needs them, and what the
    # exercise is about would not be there.
    dtypes=("float32", "bfloat16", "float16"),
    predictions=(a_millionth_apart,),
)
