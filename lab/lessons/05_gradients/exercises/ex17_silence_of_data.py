"""The silence of .data.

A change through .data is not counted, so backward() cannot see that a saved
value is no longer what it was. Nothing raises, the loss is right, and the
gradient is wrong: training goes on and learns something else. Old code clips
and decays weights that way.
"""

# A type checker cannot see that .grad is not None after backward(), nor which
# of its types an input has.
# mypy: disable-error-code="arg-type,no-untyped-call,return-value,union-attr"

from __future__ import annotations

import random
import warnings

import torch
from torch import Tensor

from lab.practise import (
    Attempt,
    Check,
    Input,
    Mistake,
    Trial,
    Values,
    read_answer,
    read_value,
)


def silence_of_data(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of L = Σ (w·x)², dL/dw and dL/dx, and clip w.

    w and x are vectors of the same length, leaves that require grad. This
    runs, and one of the two gradients is wrong:

        y = w * x
        w.data.clamp_(max=1)
        loss = (y**2).sum()
        loss.backward()
        return w.grad, x.grad

    Find out which, and repair it: both gradients are to be those of the w and
    x that were given. Afterwards no entry of w is above 1. w is clipped in
    place, it stays a leaf that requires grad, and autograd counts the change:
    w._version grows, which it does not for a change through .data. While you
    are judged, gradients reach w and x multiplied by a secret number.
    """
    y = w * x
    loss = (y**2).sum()
    loss.backward()
    with torch.no_grad():
        w.clamp_(max=1)
    return w.grad, x.grad


HINTS = (
    "What did the multiplication save for backward(), when was it changed, "
    "and who counted that change?",
    "Look up torch.no_grad and torch.Tensor.clamp_. Replace .data by "
    ".detach() to see which value backward() misses: the same change is "
    "counted then, and it raises.",
    "After ____: with torch.no_grad(): w.____",
)


def as_it_stood(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """dL/dx is {got[dL/dx]} and should be {want[dL/dx]}: it goes wrong where
    an entry of w = {w} is above 1.

    The derivative of w·x for x is w, so the multiplication saved w. By the
    time that backward() asked for it, it had been clipped, and nobody had
    counted it. dL/dw needs x, which nobody touched.
    """
    y = w * x
    w.data.clamp_(max=1)
    loss = (y**2).sum()
    loss.backward()
    return w.grad, x.grad


def loud(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Now backward() raises: the change is counted, so PyTorch sees that a
    saved value is no longer there. That is honest, and half of the repair.

    The multiplication saved w for the gradient of x. Until when is it needed?
    """
    y = w * x
    with torch.no_grad():
        w.clamp_(max=1)
    loss = (y**2).sum()
    loss.backward()
    return w.grad, x.grad


def leaf_overwritten(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """w is a leaf, and it is changed in place while PyTorch records: that
    raises.

    Clipping is no part of the loss. Nothing has to be recorded of it, but it
    has to be counted.
    """
    y = w * x
    loss = (y**2).sum()
    loss.backward()
    w.clamp_(max=1)
    return w.grad, x.grad


def moved_in_silence(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Both gradients are right, but w is still changed behind autograd's
    back: w._version did not grow.

    At this place nothing needs the old w. Whoever adds a line below will not
    be warned. Leave the counter on and the recording off.
    """
    y = w * x
    loss = (y**2).sum()
    loss.backward()
    w.data.clamp_(max=1)
    return w.grad, x.grad


def clipped_first(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Both gradients agree with each other, but with another w: you clipped
    before the loss was computed.

    dL/dw is {got[dL/dw]}, and at the w = {w} that was given it is
    {want[dL/dw]}. Compute the loss with w as it came.
    """
    with torch.no_grad():
        w.clamp_(max=1)
    y = w * x
    loss = (y**2).sum()
    loss.backward()
    return w.grad, x.grad


def clipped_first_in_silence(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """You moved the line with .data before the loss. The gradients agree with
    each other now, but they are those of the clipped w.

    dL/dw is {got[dL/dw]}, and at the w = {w} that was given it is
    {want[dL/dw]}. And nobody counts that change. Compute the loss with w as
    it came.
    """
    w.data.clamp_(max=1)
    y = w * x
    loss = (y**2).sum()
    loss.backward()
    return w.grad, x.grad


def clipped_in_the_graph(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """You made the clipping a part of the loss: dL/dw is {got[dL/dw]}, with 0
    where an entry of w = {w} was clipped, and w itself is still {got[w]}.

    Clipping comes after the step and changes the weight itself. The loss is
    that of the w that was given.
    """
    y = w.clamp(max=1) * x
    loss = (y**2).sum()
    loss.backward()
    return w.grad, x.grad


def not_clipped(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients are right, but the caller's w is still {got[w]}: the
    clipping is gone, or it went into a new tensor.

    w itself is to be changed, in place: it is the weight that the caller, or
    an optimiser, holds.
    """
    y = w * x
    loss = (y**2).sum()
    loss.backward()
    return w.grad, x.grad


def rebound(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """dL/dw is None and the caller's w is still {got[w]}: your w is a new
    tensor since w = w.clamp(…).

    A new tensor has no .grad, and the weight that is trained is the one that
    the caller, or an optimiser, holds. Change that one, in place.
    """
    y = w * x
    loss = (y**2).sum()
    loss.backward()
    w = w.clamp(max=1)
    return w.grad, x.grad


def switched_off(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """w is clipped, but it no longer requires grad: the next step would train
    nothing.

    Do not switch the caller's tensor, switch the recording, for that one
    line.
    """
    y = w * x
    loss = (y**2).sum()
    loss.backward()
    w.requires_grad_(False)
    w.clamp_(max=1)
    return w.grad, x.grad


def hand_formula(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The right formulas, but these gradients did not come through the graph
    of w and x.

    At w = {w}, x = {x} your dL/dx is {got[dL/dx]}. The judge multiplies every
    gradient by a secret number on its way to w and x, here {factor}, so
    backward() would have brought {want[dL/dx]}. A formula worked out by hand
    misses that, and so do copies of w and x, which torch.func makes too.
    """
    with torch.no_grad():
        gradients = 2 * w * x**2, 2 * w**2 * x
        w.clamp_(max=1)
    return gradients


def finite_difference(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """That is a finite difference: two values of the loss divided by a small
    step, {got[dL/dx]} for dL/dx.

    It comes near the derivative, but never through the graph, and it costs
    one more evaluation per entry. Let backward() bring both.
    """
    h = 1e-2
    with torch.no_grad():
        square = (w * x) ** 2
        dw = (((w + h) * x) ** 2 - square) / h
        dx = ((w * (x + h)) ** 2 - square) / h
        w.clamp_(max=1)
    return dw, dx


def silent(x: Tensor) -> Tensor:
    """exp() saved its result, its own derivative, and .data set it to 0
    uncounted: the gradient is 0, and nothing raises.
    """
    y = x.exp()
    y.data.zero_()
    y.sum().backward()
    return x.grad.sum()


def counted(x: Tensor) -> Tensor:
    """detach() shares the memory and the counter, so the same change is seen,
    and backward() refuses.
    """
    y = x.exp()
    y.detach().zero_()
    y.sum().backward()
    return x.grad.sum()


def versions(w: Tensor) -> int:
    """One of the two changes is counted. .data has a counter of its own,
    which is thrown away with it.
    """
    w.data.add_(1)
    w.detach().add_(1)
    return w._version


def draw(rng: random.Random) -> dict[str, Input]:
    n = rng.randrange(2, 5)
    # At least one entry that is clipped, and one that is not.
    w = [rng.randrange(2, 8) / 8, rng.randrange(10, 25) / 8]
    w += [rng.randrange(2, 25) / 8 for _ in range(n - 2)]
    rng.shuffle(w)
    return {"w": w, "x": [rng.randrange(6, 25) / 8 for _ in range(n)]}


def observe(attempt: Attempt, trial: Trial) -> Values:
    w, x = trial.leaf("w"), trial.leaf("x")
    # PyTorch warns of the .grad of a non-leaf, and a diagnosis tells it.
    with warnings.catch_warnings(action="ignore"):
        answer = attempt(w, x)
    return {
        **read_answer(answer, "dL/dw", "dL/dx", read=read_value),
        "w": read_value(w),
        "x": read_value(x),
        "w is a leaf that requires grad": w.is_leaf and w.requires_grad,
        "the change of w was counted": w._version > 0,
    }


def expected(trial: Trial) -> Values:
    pairs = list(zip(trial.inputs["w"], trial.inputs["x"], strict=True))
    return {
        "dL/dw": [trial.factor * 2 * w * x**2 for w, x in pairs],
        "dL/dx": [trial.factor * 2 * w**2 * x for w, x in pairs],
        "w": [min(w, 1.0) for w, _ in pairs],
        "x": trial.inputs["x"],
        "w is a leaf that requires grad": True,
        "the change of w was counted": True,
    }


CHECK = Check(
    solution=silence_of_data,
    first={"w": [0.5, 2.0], "x": [3.0, 1.0]},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(as_it_stood, hint=1),
        Mistake(loud, hint=3),
        Mistake(leaf_overwritten, hint=2),
        Mistake(moved_in_silence, hint=2),
        Mistake(clipped_first, hint=3),
        Mistake(clipped_first_in_silence, hint=1),
        Mistake(clipped_in_the_graph, hint=2),
        Mistake(not_clipped, hint=2),
        Mistake(rebound, hint=2),
        Mistake(switched_off, hint=2),
        Mistake(hand_formula, hint=1),
        Mistake(finite_difference, hint=1, within=0.1),
    ),
    predictions=(silent, counted, versions),
)
