"""The gradient in the middle.

The gradient at an activation shows whether the signal still reaches a layer
or has vanished on the way, and which parts of a picture a network looks at.
backward() computes it in any case, hands it on and forgets it: keeping all of
them would cost as much memory as the activations. You say which one to keep.
"""

# A type checker cannot see that .grad is not None after backward().
# mypy: disable-error-code="no-untyped-call,return-value"

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab.practise import (
    Attempt,
    Check,
    Input,
    Mistake,
    Trial,
    Values,
    read_value,
)


def gradient_in_the_middle(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return dL/dh, where h = layer(x) and L = loss(h).

    x is a tensor of shape (n,) that requires grad. layer multiplies x² by
    weights, so h has shape (n,) too. loss returns the sum of h², a scalar. So
    at h = [2, 6] the gradient is [4, 12]. Let autograd find it, through the
    two functions that you are given: while you are judged, loss multiplies
    the gradients that pass through it by a secret number.
    """
    h = layer(x)
    h.retain_grad()
    loss(h).backward()
    return h.grad


HINTS = (
    "After backward(), who keeps a gradient: everything that it passed "
    "through, or the leaves only? And is h a leaf?",
    "Look up torch.Tensor.retain_grad, which makes a result keep its "
    "gradient in .grad. It has to be asked before the gradient passes.",
    "h = …; h.____(); then backward() of the loss of that same h; at last "
    "return h.____",
)


def forgot_retain(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """You got None: backward() passed through h and did not leave anything
    there.

    h is a result, and .grad is kept for leaves only, unless you ask before.
    requires_grad_() does not ask for it: h tracks already. PyTorch says so in
    a warning: "The .grad attribute of a Tensor that is not a leaf Tensor is
    being accessed".
    """
    h = layer(x)
    loss(h).backward()
    return h.grad


def retained_too_late(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """You got None: when you asked h to keep its gradient, backward() had
    passed already.

    What was not kept then is gone. Ask before backward().
    """
    h = layer(x)
    loss(h).backward()
    h.retain_grad()
    return h.grad


def another_h(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """You got None: layer was called more than once, and the h that you look
    at is not the one that led to the loss.

    Each call makes a new tensor with a history of its own. Give loss the h
    that you hold.
    """
    h = layer(x)
    h.retain_grad()
    loss(layer(x)).backward()
    return h.grad


def forgot_backward(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """You got None: h would have kept its gradient, but none came.

    retain_grad() is a request. It takes a backward() of the loss to bring
    something.
    """
    h = layer(x)
    h.retain_grad()
    loss(h)
    return h.grad


def forgot_return(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> None:
    """h kept its gradient, but your function returned None. Return what lies
    in h.grad.
    """
    h = layer(x)
    h.retain_grad()
    loss(h).backward()


def detached(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """h was cut out of the graph, and what does not track has no gradient to
    keep.

    h has a history, from x through layer, and can stay in it. Take it as
    layer returns it.
    """
    h = layer(x).detach()
    h.retain_grad()
    loss(h).backward()
    return h.grad


def gradient_of_x(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """You returned dL/dx, the gradient at the start of the chain:
    {got[dL/dh]} at x = {x}.

    It is dL/dh times dh/dx, the slope of layer. The one in the middle is
    {want[dL/dh]}, before it goes back through layer.
    """
    h = layer(x)
    loss(h).backward()
    return x.grad


def first_half(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """You returned dh/dx, how h moves with x: {got[dL/dh]} at x = {x}. The
    loss has no part in it.

    Asked for is the other half of the chain: how L moves with h.
    """
    h = layer(x)
    return torch.autograd.grad(h.sum(), x)[0]


def value(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """You returned h itself, {got[dL/dh]}, which is a value. Its gradient
    says how fast L grows with each of these numbers.
    """
    h = layer(x)
    h.retain_grad()
    loss(h).backward()
    return h


def tuple_of_one(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Any:
    """The right gradient, still in its tuple: torch.autograd.grad() returns
    one gradient for each input that you name. Take out the only one.
    """
    h = layer(x)
    return torch.autograd.grad(loss(h), h)


def backward_twice(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """You got {got[dL/dh]} = {want[dL/dh]} + {want[dL/dh]}: two backward
    passes accumulated.

    The .grad that a result keeps adds up just as that of a leaf. Call
    backward() once.
    """
    h = layer(x)
    h.retain_grad()
    L = loss(h)
    L.backward(retain_graph=True)
    L.backward()
    return h.grad


def literal(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """Right at h = [2, 6] and nowhere else: 4 and 12 are typed in. At x = {x}
    it is something else, and of another size perhaps.
    """
    return torch.tensor([4.0, 12.0])


def hand_formula(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """The right formula, but these numbers did not come through loss.

    At x = {x} you returned {got[dL/dh]}, which is 2h. The judge's loss
    multiplies gradients by a secret number, here {factor}, so autograd would
    have brought {want[dL/dh]}. In a network nobody has the formula: call the
    loss that you were given, and let backward() go through it.
    """
    return 2 * layer(x)


def finite_difference(
    x: Tensor,
    layer: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """That is a finite difference: values of the loss divided by a small
    step, {got[dL/dh]} at x = {x}.

    It comes near the derivative and never through the graph, and it calls
    the loss anew for every number in h. backward() brings all of them at
    once.
    """
    h = layer(x).detach()
    size = 1e-3
    slopes = []
    for i in range(len(h)):
        step = torch.zeros_like(h)
        step[i] = size
        slopes.append((loss(h + step) - loss(h)) / size)
    return torch.stack(slopes)


def nobody_asked(x: Tensor, w: Tensor) -> Tensor | None:
    """None: h is a result, and nobody asked it to keep its gradient. x.grad
    and w.grad are filled.
    """
    h = w * x
    (h**2).sum().backward()
    return h.grad


def kept(x: Tensor, w: Tensor) -> bool:
    """False: that it keeps a gradient makes no leaf of it. An operation has
    made it, and the gradient goes on to x and w as before.
    """
    h = w * x
    h.retain_grad()
    return h.is_leaf


def draw(rng: random.Random) -> dict[str, Input]:
    n = rng.randint(2, 4)
    return {
        "x": [rng.randrange(3, 9) / 4 for _ in range(n)],
        "w": [rng.choice((0.5, 1.5, 2.0, 2.5, 3.0)) for _ in range(n)],
    }


def observe(attempt: Attempt, trial: Trial) -> Values:
    x, w = trial.tensor("x").requires_grad_(), trial.tensor("w")
    results: list[Tensor] = []
    passes: list[Tensor] = []

    def layer(x: Tensor) -> Tensor:
        results.append(w * x**2)
        return results[-1]

    def loss(h: Tensor) -> Tensor:
        h = trial.secret(h)
        if h.requires_grad:
            h.register_hook(passes.append)
        return (h**2).sum()

    with warnings.catch_warnings(action="ignore"):  # of the .grad of a result
        gradient = read_value(attempt(x, layer, loss))
    if gradient is not None:
        return {"dL/dh": gradient}
    keeping = [h for h in results if h.retains_grad]
    return {
        "dL/dh": None,
        # Why there is none: no right answer has these, they tell mistakes.
        "calls of layer": len(results),
        "backward passes": len(passes),
        "h is to keep its gradient": bool(keeping),
        "h has its gradient": any(h.grad is not None for h in keeping),
    }


def expected(trial: Trial) -> Values:
    inputs: Any = trial.inputs
    pairs = zip(inputs["x"], inputs["w"], strict=True)
    return {"dL/dh": [trial.factor * 2 * w * x**2 for x, w in pairs]}


CHECK = Check(
    solution=gradient_in_the_middle,
    first={"x": [1.0, 2.0], "w": [2.0, 1.5]},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(forgot_retain, hint=1),
        Mistake(retained_too_late, hint=2),
        Mistake(another_h, hint=3),
        Mistake(forgot_backward, hint=3),
        Mistake(forgot_return, hint=3),
        Mistake(detached, hint=1),
        Mistake(gradient_of_x, hint=1),
        Mistake(first_half, hint=3),
        Mistake(value, hint=3),
        Mistake(tuple_of_one, hint=3),
        Mistake(backward_twice, hint=3),
        Mistake(literal, hint=1),
        Mistake(hand_formula, hint=2),
        Mistake(finite_difference, hint=2, within=0.1),
    ),
    predictions=(nobody_asked, kept),
)
