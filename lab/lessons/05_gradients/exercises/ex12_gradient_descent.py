"""Gradient descent by hand.

This loop is what optimizer.step() does for you. A weight is a leaf that the
model, the optimizer and your own code all hold: it has to be changed in place
and without recording. A new tensor under the old name leaves the model behind
and has no .grad of its own.
"""

# mypy: disable-error-code="no-untyped-call,operator,arg-type"

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
    Mistake,
    Trial,
    Values,
    describe,
    read_number,
)


def gradient_descent(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """Mend this loop, which is meant to walk down the slope of f:

        for _ in range(steps):
            loss = f(w)
            loss.backward()
            w = w - lr * w.grad
            w.grad = None
        return w

    From the second step on it fails. Each step subtracts lr times the
    gradient of f at the present w. The tensor w that was given has to move
    itself, and to be a leaf that requires grad afterwards as before. Return
    that same tensor.

    w is a scalar tensor that requires grad and whose .grad is None so far. f
    takes a scalar tensor and returns one. For f(w) = w², w = 4 and lr = 0.25
    one step leads to 2, two steps lead to 1. While you are judged, what is
    differentiated through f is multiplied by a secret number.
    """
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        w.grad = None
    return w


HINTS = (
    "Is w after the first step still the tensor that you were given, or a "
    "new one of the same name?",
    "Look up how w -= … differs from w = w - …, and torch.no_grad, under "
    "which a leaf may be changed in place.",
    "with torch.____(): and in it w ____ lr * w.grad, in place; then clear "
    ".grad for the next step.",
)


def rebound(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """w = w - … makes a new tensor, and the name w now means that one: it was
    computed, so it is no leaf, and its .grad stays None.

    So there is nothing to subtract in the second step, and the w that you
    were given never moves. Change the tensor, not the name.
    """
    for _ in range(steps):
        f(w).backward()
        w = w - lr * w.grad
        w.grad = None
    return w


def in_place_but_recorded(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """In place is right, but it was to be recorded as part of the graph, and
    a leaf that requires grad refuses that.

    The step is no part of what is differentiated. Take it where nothing is
    recorded. Going back to w = w - … makes the message go away and w a
    non-leaf.
    """
    for _ in range(steps):
        f(w).backward()
        w -= lr * w.grad
        w.grad = None
    return w


def rebound_unrecorded(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """w = w - … makes a new tensor, and as nothing was recorded it does not
    require grad: the second step has no slope to go down.

    The w that you were given never moved. Not recording is right; change the
    tensor itself instead of the name.
    """
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w = w - lr * w.grad
        w.grad = None
    return w


def nothing_recorded(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """f(w) itself was not recorded, so there is nothing to go backward
    through, already in the first step.

    Recording is to be off for the update alone. f and backward() need it on.
    """
    with torch.no_grad():
        for _ in range(steps):
            f(w).backward()
            w -= lr * w.grad
            w.grad = None
    return w


def new_leaf(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """The number that you return is right, {got[returned]}, but it is in
    another tensor: the w that you were given is still {got[w]}.

    A model would still hold that one, and so would its optimizer. New tensors
    in every step train a copy. Change w in place.
    """
    for _ in range(steps):
        w = w.detach().clone().requires_grad_()
        f(w).backward()
        w = (w - lr * w.grad).detach().requires_grad_()
    return w


def off_afterwards(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """w moved to the right place, but it no longer requires grad: whoever
    trains on from here gets no gradient for it.

    Leave the tensor's own switch alone. What has to be off for a moment is
    recording.
    """
    for _ in range(steps):
        w.requires_grad_()
        f(w).backward()
        w.requires_grad_(False)
        w -= lr * w.grad
        w.grad = None
    return w


def forgot_zero(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """After {steps} steps w is {got[w]} where {want[w]} is expected: from the
    second step on you walk along the sum of all the gradients so far.

    backward() adds to .grad. Clear it before the next one.
    """
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w


def uphill(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """w went the other way, to {got[w]}: you added the gradient. It points
    uphill, so a descent subtracts it.
    """
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w += lr * w.grad
        w.grad = None
    return w


def without_lr(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """w is at {got[w]} where {want[w]} is expected: you subtracted the whole
    gradient, without the learning rate lr = {lr}.
    """
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w -= w.grad
        w.grad = None
    return w


def one_step(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """You took one step, to {got[w]}, where {steps} were asked for. Perhaps
    the return stands inside the loop.
    """
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        w.grad = None
        return w
    return w


def finite_difference(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> Tensor:
    """That slope is a finite difference: two values of f divided by a small
    step. It led to {got[w]}.

    It misses the secret {factor} that a derivative through f is multiplied
    by, and with a million weights it would take a million evaluations. Let
    autograd bring the slope.
    """
    h = 1e-3
    with torch.no_grad():
        for _ in range(steps):
            w -= lr * (f(w + h) - f(w)) / h
    return w


def rebound_is_leaf(w: Tensor) -> bool:
    """False. w - 1 was computed from the leaf, and the name w now means the
    result. The leaf still exists, under the caller's names for it.
    """
    w = w - 1
    return w.is_leaf


def rebound_requires_grad(w: Tensor) -> bool:
    """False. It is a new tensor, and nothing of it was recorded."""
    with torch.no_grad():
        w = w - 1
    return w.requires_grad


def edited_requires_grad(w: Tensor) -> bool:
    """True. It is the same leaf as before, with another number in it; whether
    it requires grad is its own setting, which no_grad() does not touch.
    """
    with torch.no_grad():
        w -= 1
    return w.requires_grad


def draw(rng: random.Random) -> dict[str, float]:
    target = rng.randrange(8, 25) / 8
    return {
        "w": target + rng.randrange(8, 33) / 8,
        "target": target,
        "lr": rng.choice((1 / 16, 1 / 8)),
        "steps": rng.randrange(2, 5),
    }


def observe(attempt: Attempt, trial: Trial) -> Values:
    w, target = trial.tensor("w").requires_grad_(), trial.tensor("target")

    def f(w: Tensor) -> Tensor:
        return trial.secret((w - target) ** 2)

    steps = int(trial.inputs["steps"])
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        # PyTorch warns of the .grad of a non-leaf; a mistake tells it better.
        returned = attempt(f, w, trial.inputs["lr"], steps)
    if not isinstance(returned, Tensor):
        forgotten = " Is there a return?" if returned is None else ""
        found = describe(returned)
        raise AnswerError(f"It returned {found}.{forgotten} Expected w.")
    return {
        "returned": read_number(returned),
        "w": read_number(w),
        "the tensor given is returned": returned is w,
        "w is a leaf": w.is_leaf,
        "w requires grad": w.requires_grad,
    }


def expected(trial: Trial) -> Values:
    """Each step brings w nearer to the target by the same ratio."""
    w, target, lr = (trial.inputs[name] for name in ("w", "target", "lr"))
    ratio = 1 - lr * trial.factor * 2
    reached = target + (w - target) * ratio ** trial.inputs["steps"]
    return {
        "returned": reached,
        "w": reached,
        "the tensor given is returned": True,
        "w is a leaf": True,
        "w requires grad": True,
    }


CHECK = Check(
    solution=gradient_descent,
    # A single step, so that what goes wrong in the second can be told from
    # what goes wrong in the first.
    first={"w": 4.0, "target": 2.0, "lr": 0.25, "steps": 1},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(rebound, hint=1),
        Mistake(in_place_but_recorded, hint=2),
        Mistake(rebound_unrecorded, hint=1),
        Mistake(nothing_recorded, hint=2),
        Mistake(new_leaf, hint=1),
        Mistake(off_afterwards, hint=2),
        Mistake(forgot_zero, hint=3),
        Mistake(uphill, hint=3),
        Mistake(without_lr, hint=3),
        Mistake(one_step, hint=3),
        Mistake(finite_difference, hint=2, within=0.01),
    ),
    # Every step rounds, and the next one starts from the rounded number.
    dtypes=("float64", "float32"),
    predictions=(
        rebound_is_leaf,
        rebound_requires_grad,
        edited_requires_grad,
    ),
)
