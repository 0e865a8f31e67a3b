"""In-place post-mortem.

backward() works with the values that the forward pass saved, so overwriting
one of them would falsify the gradient. PyTorch counts the changes of every
tensor and raises instead. In training that guards batches that are masked,
activations that are reused, and the update of the weights itself.
"""

# A type checker cannot see that .grad is not None after backward(), nor which
# of its types an input has.
# mypy: disable-error-code="index,no-untyped-call,operator,return-value"

from __future__ import annotations

import math
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


def in_place_post_mortem(
    w: Tensor, x: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss and its gradients, dL/dw and dL/dx, and move w.

    w, a scalar, and x, a vector, are leaves that require grad. This is one
    step of training, and it crashes at three places: mend one, and it comes
    as far as the next.

        x[0] = 0
        z = (w * x).exp()
        z += 1
        loss = z.log().sum()
        loss.backward()
        w -= 0.1 * w.grad
        return loss, w.grad, x.grad

    Rewrite it so that it does what was meant, with the smallest change at
    each place. The first entry counts as 0 in the loss, so the first entry
    of dL/dx is 0; x itself keeps its values. w is changed in place by the
    last step and stays a leaf that requires grad, and autograd counts that
    change: w._version grows, which it does not for a change through .data.
    While you are judged, gradients reach w and x multiplied by a secret
    number.
    """
    masked = x.clone()
    masked[0] = 0
    z = (w * masked).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return loss, w.grad, x.grad


HINTS = (
    "Three tensors are overwritten: x, z and w. Which of their old values "
    "does backward() still need, and which change should not be recorded at "
    "all?",
    "Look up torch.Tensor.clone and torch.no_grad. And print z._version "
    "before and after the sum: backward() compares it with the version that "
    "exp() saved.",
    "own = x.____(), and the entry of that is set; z = ____, a new tensor; "
    "with torch.____(): and in it the last step.",
)


def as_it_stood(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x[0] = 0 raises: it overwrites a part of a leaf, and it would be
    recorded.

    A leaf is where gradients arrive, so it may not become the result of
    something. x also belongs to the caller. Let the step overwrite a tensor
    of its own, which still leads back to x.
    """
    x[0] = 0
    z = (w * x).exp()
    z += 1
    loss = z.log().sum()
    loss.backward()
    w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def saved_value_overwritten(
    w: Tensor, x: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """backward() raises: a value that it needs was changed in place after it
    had been saved.

    In the code as it stands that is z. The derivative of exp() is its own
    result, so exp() saved z, and z += 1 overwrote it. Under no_grad() and
    through detach() the change is counted just the same. Let what exp()
    saved stay as it is.
    """
    masked = x.clone()
    masked[0] = 0
    z = (w * masked).exp()
    z += 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def leaf_overwritten(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A leaf is changed in place while PyTorch records, and that raises. In
    the code as it stands this is the last step, which moves w.

    The loss does not depend on where w moves afterwards, so nothing of that
    step has to be recorded. w = w - … would not raise, but it makes a new
    tensor and leaves the caller's w where it was.
    """
    masked = x.clone()
    masked[0] = 0
    z = (w * masked).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def masked_in_place(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """You overwrote the caller's x: it is {got[x]} now and was {want[x]}.

    With recording off, or through .data, nothing complains. But the data are
    lost for the next step, and dL/dx = {got[dL/dx]} is the slope at the
    wrong point: its first entry should be 0, for that entry does not count.
    """
    with torch.no_grad():
        x[0] = 0
    z = (w * x).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def masked_detached(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dx is None: your copy of x no longer leads back to x, because it was
    detached, or made while nothing was recorded.

    The copy may be overwritten, which is right. But the gradient has to find
    its way through it to x.
    """
    x = x.detach().clone()
    x[0] = 0
    z = (w * x).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def read_the_copy(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dx is None, and yet the gradient has arrived: at the x that was
    given. You read .grad of your copy.

    A copy that leads back to x is the result of an operation, not a leaf,
    and keeps no .grad; PyTorch warns of it. Give the copy a name of its own,
    so that x still means the x that was given.
    """
    x = x.clone()
    x[0] = 0
    z = (w * x).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def not_masked(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """It no longer crashes, because the first entry of x = {x} is no longer
    set to 0. The loss is {got[loss]} and should be {want[loss]}.

    Keep what the line was for: the first entry is not to count.
    """
    z = (w * x).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def left_out(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss is {got[loss]} and should be {want[loss]}: you left the first
    entry out, and it is to count as 0.

    exp(0) + 1 is 2, so an entry of 0 adds log(2) to the loss. The gradients
    are right.
    """
    z = (w * x[1:]).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def sum_dropped(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss is {got[loss]}, that of a z to which nothing was added; it
    should be {want[loss]}.

    z + 1 alone makes a new tensor, and if nothing holds it, it is gone.
    """
    masked = x.clone()
    masked[0] = 0
    z = (w * masked).exp()
    z + 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def silenced(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The crash is gone and the gradient is wrong: dL/dw is {got[dL/dw]}, not
    {want[dL/dw]}. The loss is right.

    A change through .data is not counted, so backward() used the overwritten
    z in place of what exp() had saved. The message was the better of the two.
    Undo it, and ask what exp() needs.
    """
    masked = x.clone()
    masked[0] = 0
    z = (w * masked).exp()
    z.data += 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def rebound(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dw is None and the caller's w is still {got[w]}: your w is a new
    tensor since w = w - ….

    That avoids the message and causes this. The weight that is trained is
    the one that the caller, or an optimiser, holds: change it in place.
    """
    masked = x.clone()
    masked[0] = 0
    z = (w * masked).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    w = w - 0.1 * w.grad
    return loss, w.grad, x.grad


def not_moved(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients are right, but the caller's w is still {got[w]}; the step
    leads to {want[w]}.

    Either the last step is missing, or it made a new tensor. The weight that
    is trained is the one that the caller holds: change it in place.
    """
    masked = x.clone()
    masked[0] = 0
    z = (w * masked).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    return loss, w.grad, x.grad


def moved_in_silence(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All numbers are right, but w was changed behind autograd's back:
    w._version did not grow.

    Here nothing needs the old w any more. Where something does, a change
    through .data gives a wrong gradient without a word. Leave the counter
    on and the recording off.
    """
    masked = x.clone()
    masked[0] = 0
    z = (w * masked).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    w.data -= 0.1 * w.grad
    return loss, w.grad, x.grad


def switched_off(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """w has moved, but it no longer requires grad: the next step would train
    nothing.

    Do not switch the caller's tensor, switch the recording, for that one
    line.
    """
    masked = x.clone()
    masked[0] = 0
    z = (w * masked).exp()
    z = z + 1
    loss = z.log().sum()
    loss.backward()
    w.requires_grad_(False)
    w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def hand_formula(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The right formulas, but these gradients did not come through the graph
    of w and x.

    At w = {w} your dL/dw is {got[dL/dw]}. The judge multiplies every gradient
    by a secret number on its way to w and x, here {factor}, so backward()
    would have brought {want[dL/dw]}. A formula worked out by hand misses
    that, and so do copies of w and x, which torch.func makes too. Keep the
    step as it is and mend its three places.
    """
    with torch.no_grad():
        masked = x.clone()
        masked[0] = 0
        slope = torch.sigmoid(w * masked)
        dw, dx = (slope * masked).sum(), slope * w
        dx[0] = 0
        loss = ((w * masked).exp() + 1).log().sum()
        w -= 0.1 * dw
    return loss, dw, dx


def finite_difference(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """That is a finite difference: two values of the loss divided by a small
    step, {got[dL/dw]} at w = {w}.

    It comes near the derivative, but never through the graph, and it costs
    one more evaluation per input. Keep the step as it is and mend its three
    places.
    """
    mask = torch.ones_like(x)
    mask[0] = 0

    def f(w: Tensor, x: Tensor) -> Tensor:
        return ((w * x * mask).exp() + 1).log().sum()

    h = 1e-2
    with torch.no_grad():
        loss = f(w, x)
        dw = (f(w + h, x) - loss) / h
        nudges = h * torch.eye(len(x)).to(x)
        dx = torch.stack([(f(w, x + n) - loss) / h for n in nudges])
        w -= 0.1 * dw
    return loss, dw, dx


def added_in_place(w: Tensor) -> Tensor:
    """The derivative of 2w is the number 2. Doubling saved no value that the
    sum could spoil: a change in place hurts only what was saved.
    """
    z = 2 * w
    z += 1
    z.backward()
    return w.grad


def saved_and_added_in_place(w: Tensor) -> Tensor:
    """The derivative of exp() is its own result, so exp() saved z. The sum
    raised z._version, and backward() refuses.
    """
    z = w.exp()
    z += 1
    z.backward()
    return w.grad


# Small enough that w stays positive whatever the secret factor: no digits
# are lost in w - 0.1 · gradient.
def draw(rng: random.Random) -> dict[str, Input]:
    x = [rng.randrange(2, 9) / 8 for _ in range(3)]
    return {"w": rng.randrange(8, 17) / 8, "x": x}


def observe(attempt: Attempt, trial: Trial) -> Values:
    w, x = trial.leaf("w"), trial.leaf("x")
    # PyTorch warns of the .grad of a non-leaf, and a diagnosis tells it.
    with warnings.catch_warnings(action="ignore"):
        answer = attempt(w, x)
    return {
        **read_answer(answer, "loss", "dL/dw", "dL/dx", read=read_value),
        "w": read_value(w),
        "x": read_value(x),
        "w is a leaf that requires grad": w.is_leaf and w.requires_grad,
        "the change of w was counted": w._version > 0,
        # Not expected of a right answer, which may use autograd.grad(): it
        # tells a copy that was detached from one whose .grad was read.
        "x.grad was filled": x.grad is not None,
    }


def expected(trial: Trial) -> Values:
    w, x = trial.inputs["w"], trial.inputs["x"]
    masked = [0.0, *x[1:]]
    slopes = [1 / (1 + math.exp(-w * m)) for m in masked]
    dw = trial.factor * sum(map(math.prod, zip(masked, slopes, strict=True)))
    return {
        "loss": sum(math.log1p(math.exp(w * m)) for m in masked),
        "dL/dw": dw,
        "dL/dx": [0.0, *(trial.factor * w * slope for slope in slopes[1:])],
        "w": w - 0.1 * dw,
        "x": x,
        "w is a leaf that requires grad": True,
        "the change of w was counted": True,
    }


CHECK = Check(
    solution=in_place_post_mortem,
    first={"w": 1.0, "x": [1.0, 0.5, 1.0]},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(as_it_stood, hint=1),
        Mistake(saved_value_overwritten, hint=2),
        Mistake(leaf_overwritten, hint=2),
        Mistake(masked_in_place, hint=3),
        Mistake(masked_detached, hint=3),
        Mistake(read_the_copy, hint=3),
        Mistake(not_masked, hint=1),
        Mistake(left_out, hint=1),
        Mistake(sum_dropped, hint=3),
        Mistake(silenced, hint=2),
        Mistake(rebound, hint=2),
        Mistake(not_moved, hint=2),
        Mistake(moved_in_silence, hint=2),
        Mistake(switched_off, hint=2),
        Mistake(hand_formula, hint=1),
        Mistake(finite_difference, hint=1, within=0.1),
    ),
    predictions=(added_in_place, saved_and_added_in_place),
)
