"""Device trap.

.to() on a tensor that requires grad makes a new tensor, the result of an
operation. The gradient goes on to the leaf that was left behind, and an
optimiser refuses the copy. So weights are moved first, and tracked or handed
to the optimiser afterwards; nn.Module.to() moves a whole network.
"""

# A type checker cannot see which of its types an input has.
# mypy: disable-error-code="arg-type,no-untyped-call"

from __future__ import annotations

import random
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from lab.practise import (
    AnswerError,
    Attempt,
    Check,
    Input,
    Mistake,
    Trial,
    Values,
    describe,
    read_value,
)


def device_trap(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor:
    """Return w, a leaf on target, with the gradient of f(w) in w.grad.

    values is a list of floats, w the vector of them, and f(w) a scalar
    tensor. target is what f computes with: a device or, where there is only
    a CPU, the dtype torch.float64. tensor.to(target) takes either, and makes
    a new tensor for either, so the trap is the same. This runs, but w.grad is
    None:

        w = torch.tensor(values, requires_grad=True).to(target)
        f(w).backward()
        return w

    Rewrite it. The w that you return has the values, lies on target (is of
    that dtype), is a leaf that requires grad, as an optimiser demands, and
    holds the gradient that backward() brought. While you are judged, f
    multiplies that by a secret number.
    """
    w = torch.tensor(values).to(target).requires_grad_()
    f(w).backward()
    return w


HINTS = (
    "Two tensors are made in the first line of that code. Which of them is "
    "the leaf?",
    "Look up torch.Tensor.is_leaf, and torch.Tensor.requires_grad_, which "
    "switches a leaf on after it was made.",
    "Make it, then move it, then track it: w = torch.tensor(values).to(____)"
    ".____()",
)


def as_it_stood(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor:
    """w.grad is None: your w is what .to() made of a leaf, the result of an
    operation, and such a tensor keeps no gradient. PyTorch warns of it.

    The gradient goes on to the tensor that .to() was called on, which nothing
    holds any more. What you return has to be the leaf itself.
    """
    w = torch.tensor(values, requires_grad=True).to(target)
    f(w).backward()
    return w


def retained(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor:
    """w.grad is right, {got[w.grad]}, but w is no leaf: it keeps a gradient
    and is still the result of an operation.

    An optimiser refuses it: can't optimize a non-leaf Tensor. And moving w
    would not move the leaf behind it, from which w is computed.
    """
    w = torch.tensor(values, requires_grad=True).to(target)
    w.retain_grad()
    f(w).backward()
    return w


def left_behind(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor:
    """That is a leaf, and its gradient is right, but it does not lie on
    target: you return the tensor that was there before .to().

    It would have to be moved again for every step. Make the leaf where f
    computes.
    """
    w = torch.tensor(values, requires_grad=True)
    f(w.to(target)).backward()
    return w


def not_moved(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor:
    """f refuses your w: it computes on target, and w does not lie there.

    Leaving .to() out does make w a leaf, but one in the wrong place.
    """
    w = torch.tensor(values, requires_grad=True)
    f(w).backward()
    return w


def untracked(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor:
    """backward() raises: nothing that f was given requires grad.

    Either it was never asked for, or it was asked for after f(w), or w was
    cut off by detach(), .data or no_grad(). w has to be tracked, once it lies
    on target, before f sees it.
    """
    w = torch.tensor(values).to(target)
    f(w).backward()
    return w


def forgot_backward(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor:
    """Your w is a leaf in the right place, and its .grad is None: no gradient
    was brought to it.

    Either backward() was not called, or f was given another tensor.
    """
    w = torch.tensor(values).to(target).requires_grad_()
    f(w)
    return w


def returned_a_copy(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor:
    """What you returned does not require grad and holds no gradient: it was
    detached at the end, or never tracked.

    A copy of w leaves the gradient behind, even where the values are the
    same. Return the tensor that f was given.
    """
    w = torch.tensor(values).to(target).requires_grad_()
    f(w).backward()
    return w.detach()


def returned_the_gradient(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor | None:
    """You returned the gradient, {got[w]}. Return w, whose .grad holds it."""
    w = torch.tensor(values).to(target).requires_grad_()
    f(w).backward()
    return w.grad


def finite_difference(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor:
    """That is a finite difference: two values of f divided by a small step,
    {got[w.grad]}.

    It comes near the derivative, but never through the graph of f, where the
    judge multiplies it, and it costs one more evaluation per entry. Let
    backward() bring it.
    """
    h = 1e-2
    w = torch.tensor(values).to(target).requires_grad_()
    with torch.no_grad():
        nudges = h * torch.eye(len(values)).to(target)
        w.grad = torch.stack([(f(w + n) - f(w)) / h for n in nudges])
    return w


def literal(
    f: Callable[[Tensor], Tensor],
    values: list[float],
    target: torch.device | torch.dtype,
) -> Tensor:
    """Right for the first values and nowhere else: the numbers are typed in.

    For other values, and for another f, the gradient is something else. Make
    w of the values and let backward() bring it.
    """
    w = torch.tensor([2.0, 0.5]).to(target).requires_grad_()
    w.grad = torch.tensor([12.0, 4.0]).to(target)
    return w


def still_a_leaf(values: Tensor) -> bool:
    """.to() made a new tensor and recorded how: a result, not a leaf."""
    return values.to(torch.float64).is_leaf


def arrived(values: Tensor) -> bool:
    """The gradient is not lost. It went through .to(), which is an operation
    like any other, and on to the leaf.
    """
    w = values.to(torch.float64)
    w.sum().backward()
    return values.grad is not None


def nothing_to_do(values: Tensor) -> bool:
    """A tensor that already is what it is asked to be is returned as it is,
    the same leaf. So the trap stays shut on a machine without a GPU, and
    opens on the one that has it.
    """
    return values.to(values.device) is values


def draw(rng: random.Random) -> dict[str, Input]:
    n = rng.randrange(2, 5)
    return {
        "values": [rng.randrange(6, 25) / 8 for _ in range(n)],
        "c": [rng.randrange(6, 25) / 8 for _ in range(n)],
    }


# Whatever dtype the judge names, the learner's tensor starts in float32, as
# torch.tensor() makes it. There all these numbers are exact.
def observe(attempt: Attempt, trial: Trial) -> Values:
    values, target = list(trial.inputs["values"]), _target(trial)
    c = torch.tensor(trial.inputs["c"]).to(target)

    def f(w: Tensor) -> Tensor:
        return torch.dot(c, trial.secret(w) ** 2)

    # PyTorch warns of the .grad of a non-leaf, and a diagnosis tells it.
    with warnings.catch_warnings(action="ignore"):
        w = attempt(f, values, target)
        if not isinstance(w, Tensor):
            found = describe(w)
            raise AnswerError(f"It returned {found}. Expected the tensor w.")
        gradient = read_value(w.grad)
    return {
        "w": read_value(w),
        "w.grad": gradient,
        "w is a leaf": w.is_leaf,
        "w requires grad": w.requires_grad,
        "w lies on target": (w.device, w.dtype) == (c.device, c.dtype),
    }


def _target(trial: Trial) -> torch.device | torch.dtype:
    """On a machine without another device a dtype sets the same trap."""
    if trial.device == "cpu":
        return torch.float64
    return torch.device(trial.device)


def expected(trial: Trial) -> Values:
    values, c = trial.inputs["values"], trial.inputs["c"]
    pairs = zip(values, c, strict=True)
    return {
        "w": values,
        "w.grad": [trial.factor * 2 * w * a for w, a in pairs],
        "w is a leaf": True,
        "w requires grad": True,
        "w lies on target": True,
    }


CHECK = Check(
    solution=device_trap,
    first={"values": [2.0, 0.5], "c": [3.0, 4.0]},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(as_it_stood, hint=1),
        Mistake(retained, hint=2),
        Mistake(left_behind, hint=2),
        Mistake(not_moved, hint=1),
        Mistake(untracked, hint=3),
        Mistake(forgot_backward, hint=3),
        Mistake(returned_a_copy, hint=3),
        Mistake(returned_the_gradient, hint=3),
        Mistake(finite_difference, hint=3, within=0.1),
        Mistake(literal, hint=3),
    ),
    predictions=(still_a_leaf, arrived, nothing_to_do),
)
