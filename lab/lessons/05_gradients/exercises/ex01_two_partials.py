"""Two partials.

A loss depends on every parameter of a network. One backward() brings each its
own partial derivative, all of them together for the price of a few
evaluations of the loss: that is what makes training possible.
"""

# A type checker cannot see that .grad is not None after backward().
# mypy: disable-error-code="no-untyped-call,union-attr,return-value"

from __future__ import annotations

import random

import torch
from torch import Tensor

from lab.practise import Attempt, Check, Mistake, Trial, Values, read_answer


def two_partials(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two gradients of z = x² + y³: dz/dx, then dz/dy.

    x and y are scalar tensors that require grad. Let autograd differentiate,
    through x and y themselves, with backward() or torch.autograd.grad().
    At x = 2, y = 3 the gradients are 4 and 27. While you are judged,
    gradients reach x and y multiplied by a secret number.
    """
    z = x**2 + y**3
    z.backward()
    return x.grad, y.grad


HINTS = (
    "What is held fixed while x is nudged? And where does autograd put the "
    "slope that it finds?",
    "Look up torch.Tensor.backward: called on a scalar, it fills the .grad "
    "of every leaf that led to it.",
    "z = …, with x and y as they were given; z.____(); return x.____, y.____",
)


def literal(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Right at x = 2, y = 3 and nowhere else: 4 and 27 are typed in.

    At x = {x}, y = {y} they are something else. Build z from x and y and let
    autograd work its gradients out.
    """
    return torch.tensor(4.0), torch.tensor(27.0)


def hand_formula(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The right formula, but these numbers did not come through the graph of
    x and y.

    At x = {x} you returned {got[dz/dx]}, which is 2x. The judge multiplies
    every gradient by a secret number on its way to x and y, here {factor}, so
    autograd would have brought {want[dz/dx]}. A formula worked out by hand
    misses that, and so do copies of x and y, which torch.func makes too.
    Build z from x and y, then backward().
    """
    return 2 * x, 3 * y**2


def finite_difference(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """That is a finite difference: two values of z divided by a small step.

    It comes near the derivative, {got[dz/dx]} at x = {x}, but never through
    the graph, and it costs one more evaluation per input. Compute z once and
    let backward() bring both gradients.
    """
    h = 1e-3
    z = x**2 + y**3
    return ((x + h) ** 2 + y**3 - z) / h, (x**2 + (y + h) ** 3 - z) / h


def swapped(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both gradients are right, in the wrong order: you returned dz/dy first.

    At x = {x}, y = {y} the first has to be dz/dx = {want[dz/dx]}.
    """
    z = x**2 + y**3
    z.backward()
    return y.grad, x.grad


def backward_twice(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """You got {got[dz/dx]} = {want[dz/dx]} + {want[dz/dx]}: two backward
    passes accumulated, unless you doubled something yourself.

    backward() adds to .grad and never replaces it. Call it once on z.
    """
    z = x**2 + y**3
    z.backward(retain_graph=True)
    z.backward()
    return x.grad, y.grad


def values(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """You returned values, x² and y³, not gradients: {got[dz/dx]} is how
    large the term is at x = {x}.

    A gradient says how fast z changes. After z.backward() it lies in x.grad
    and y.grad.
    """
    return x**2, y**3


def value_twice(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """You returned z itself, {got[dz/dx]}, not its gradients. After
    z.backward() they lie in x.grad and y.grad.
    """
    z = x**2 + y**3
    z.backward()
    return z, z


def forgot_backward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both are None: you returned the .grad of tensors that were brought
    none.

    Either z.backward() was not called, or these are not the x and y that were
    given: a clone or any other result keeps no .grad.
    """
    z = x**2 + y**3  # noqa: F841
    return x.grad, y.grad


def detached_x(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """dz/dx is None: detach() cut x out of the graph, as .item(), float() and
    .data also do.

    Holding x fixed needs none of this: each partial derivative treats the
    other input as a constant by itself.
    """
    z = x.detach() ** 2 + y**3
    z.backward()
    return x.grad, y.grad


def detached_y(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """dz/dy is None: detach() cut y out of the graph, as .item(), float() and
    .data also do.

    Holding y fixed needs none of this: each partial derivative treats the
    other input as a constant by itself.
    """
    z = x**2 + y.detach() ** 3
    z.backward()
    return x.grad, y.grad


def before_backward(x: Tensor, y: Tensor) -> Tensor | None:
    """The graph was built, and nobody has gone back through it yet."""
    z = x**2 + y**3  # noqa: F841
    return x.grad


def draw(rng: random.Random) -> dict[str, float]:
    return {"x": rng.randrange(6, 25) / 8, "y": rng.randrange(6, 25) / 8}


def observe(attempt: Attempt, trial: Trial) -> Values:
    return read_answer(
        attempt(trial.leaf("x"), trial.leaf("y")), "dz/dx", "dz/dy"
    )


def expected(trial: Trial) -> Values:
    x, y = trial.inputs["x"], trial.inputs["y"]
    return {"dz/dx": trial.factor * 2 * x, "dz/dy": trial.factor * 3 * y**2}


CHECK = Check(
    solution=two_partials,
    first={"x": 2.0, "y": 3.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(literal, hint=1),
        Mistake(hand_formula, hint=2),
        Mistake(finite_difference, hint=2, within=0.1),
        Mistake(swapped, hint=3),
        Mistake(backward_twice, hint=2),
        Mistake(values, hint=1),
        Mistake(value_twice, hint=2),
        Mistake(forgot_backward, hint=2),
        Mistake(detached_x, hint=1),
        Mistake(detached_y, hint=1),
    ),
    predictions=(before_backward,),
)
