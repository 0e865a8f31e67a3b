"""Gradients without side effects.

backward() writes into the .grad of every leaf that it meets, as an optimizer
needs it. A gradient penalty, an attack on an image or a plot of the slope
needs a gradient and must not disturb the ones that are being collected:
torch.autograd.grad() returns it and writes nothing.
"""

# mypy: disable-error-code="no-untyped-call,operator,return-value,union-attr"

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from lab.practise import (
    Attempt,
    Check,
    Mistake,
    Trial,
    Values,
    read_answer,
    read_number,
)


def grad_not_backward(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the two gradients of f(x, y), and leave every .grad as it is.

    First df/dx, then df/dy, each a scalar tensor. f takes two scalar tensors
    and returns one; it may use weights of its own, tracked ones. x and y are
    scalar tensors that require grad. x.grad holds something that is still
    needed, y.grad and the .grad of f's weights are None, and all of them have
    to be the same afterwards. For f(x, y) = x²·y, x = 2 and y = 3 the answer
    is 12 and 4. While you are judged, what is differentiated through f is
    multiplied by a secret number.
    """
    return torch.autograd.grad(f(x, y), (x, y))


HINTS = (
    "Which tensors does backward() write into, besides the one whose "
    "gradient you want?",
    "Look up torch.autograd.grad: it takes an output and the inputs, and "
    "returns a tuple with one gradient for each input.",
    "torch.autograd.____ of what f returns, with respect to both inputs: "
    "(____, ____).",
)


def backward_and_read(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """You got {got[df/dx]} = {want[df/dx]} + {before}: backward() added the
    gradient to what x.grad held before, and you returned the sum.

    The {before} that was collected there is lost for whoever needs it. Ask
    for gradients that are returned and not stored.
    """
    f(x, y).backward()
    return x.grad, y.grad


def cleared_first(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients are right, but x.grad held {before} and now holds
    {got[x.grad]}: you cleared it and let backward() fill it anew.

    Whoever was collecting gradients there has lost them. Ask for gradients
    that are returned and not stored.
    """
    x.grad = None
    f(x, y).backward()
    return x.grad, y.grad


def cleared_last(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients are right, but x.grad held {before} and is empty now:
    you cleared up after backward(), and more than you had brought.

    The weights of f still carry a gradient too. What is never stored needs no
    clearing.
    """
    before = x.grad.clone()
    f(x, y).backward()
    gradients = x.grad - before, y.grad
    x.grad = y.grad = None
    return gradients


def difference(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients are right, but backward() left its traces: x.grad held
    {before} and now holds {got[x.grad]}, y.grad is no longer None.

    Subtracting what was there before mends your answer and not the tensors.
    """
    before = x.grad.clone()
    f(x, y).backward()
    return x.grad - before, y.grad


def only_the_leaves_are_clean(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """x.grad and y.grad are as they were, but the weight that f uses has got
    a gradient, {got[.grad of f's weight]}: backward() ran through f.

    Copies of x and y, or putting their .grad back, protect these two. A
    backward() reaches every leaf below its output. Ask for gradients that
    are returned and not stored.
    """
    x = x.detach().requires_grad_()
    y = y.detach().requires_grad_()
    f(x, y).backward()
    return x.grad, y.grad


def only_the_leaves_hold_the_same(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """x.grad holds {before} again, but in another tensor, and the weight that
    f uses has got a gradient, {got[.grad of f's weight]}.

    Whatever shared the old tensor no longer sees x.grad, and a backward()
    reaches every leaf below its output. Ask for gradients that are returned
    and not stored.
    """
    before = x.grad.clone()
    x.grad = None
    f(x, y).backward()
    gradients = x.grad, y.grad
    x.grad, y.grad = before, None
    return gradients


def tuples(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """df/dx is {got[df/dx]}: torch.autograd.grad() returns a tuple, also for
    one input, and you returned the tuples.

    Take the gradient out of each, or ask for both inputs in one call.
    """
    return torch.autograd.grad(f(x, y), x), torch.autograd.grad(f(x, y), y)


def one_after_the_other(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Your second call went through a graph that the first had freed, as
    backward() frees it too.

    One call brings the gradients of all the inputs that you name, for the
    price of one pass.
    """
    z = f(x, y)
    (dx,) = torch.autograd.grad(z, x)
    (dy,) = torch.autograd.grad(z, y)
    return dx, dy


def swapped(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients are right, in the wrong order: you returned df/dy first.
    The first has to be df/dx = {want[df/dx]}.
    """
    return torch.autograd.grad(f(x, y), (y, x))


def hand_formula(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """You returned {got[df/dx]} and {got[df/dy]}: 2xy and x², the formulas
    for the example x²·y. The f that you are given is another one.

    You cannot know its formula, but you can have it differentiated.
    """
    return 2 * x * y, x**2


def finite_difference(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """That is a finite difference: {got[df/dx]} at x = {x}, y = {y} from the
    values of f.

    It leaves every .grad alone, but it costs an evaluation per input, and it
    misses the secret {factor} that a derivative through f is multiplied by.
    Ask autograd for the gradients, without storing them.
    """
    h = 1e-3
    z = f(x, y)
    return (f(x + h, y) - z) / h, (f(x, y + h) - z) / h


def grad_after_grad(x: Tensor) -> Tensor | None:
    """None. torch.autograd.grad() returned the gradient, and nobody kept it;
    x.grad is what backward() fills.
    """
    torch.autograd.grad(x**2, x)
    return x.grad


def is_a_tensor(x: Tensor) -> bool:
    """False. It is a tuple, one gradient for each input named, also where
    there is only one.
    """
    gradient = torch.autograd.grad(x**2, x)
    return isinstance(gradient, Tensor)


def draw(rng: random.Random) -> dict[str, float]:
    return {
        "x": rng.randrange(6, 25) / 8,
        "y": rng.randrange(6, 25) / 8,
        "w": rng.randrange(10, 25) / 8,
        "before": rng.randrange(8, 41) / 8,
    }


def observe(attempt: Attempt, trial: Trial) -> Values:
    """The secret lies in f and not in a hook, so torch.func is right too."""
    x, y, w = (trial.tensor(name).requires_grad_() for name in "xyw")
    x.grad = before = trial.tensor("before")

    def f(x: Tensor, y: Tensor) -> Tensor:
        return trial.secret(w * x**2 * y)

    seen = read_answer(attempt(f, x, y), "df/dx", "df/dy")
    return {
        **seen,
        "x.grad": read_number(x.grad),
        "x.grad is the tensor it was": x.grad is before,
        "y.grad": read_number(y.grad),
        ".grad of f's weight": read_number(w.grad),
        "x and y still require grad": x.requires_grad and y.requires_grad,
    }


def expected(trial: Trial) -> Values:
    x, y, w = (trial.inputs[name] for name in "xyw")
    return {
        "df/dx": trial.factor * w * 2 * x * y,
        "df/dy": trial.factor * w * x**2,
        "x.grad": trial.inputs["before"],
        "x.grad is the tensor it was": True,
        "y.grad": None,
        ".grad of f's weight": None,
        "x and y still require grad": True,
    }


CHECK = Check(
    solution=grad_not_backward,
    # w is not 1, so that the example's formula is wrong here as well.
    first={"x": 2.0, "y": 3.0, "w": 0.5, "before": 5.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(backward_and_read, hint=1),
        Mistake(cleared_first, hint=1),
        Mistake(cleared_last, hint=1),
        Mistake(difference, hint=1),
        Mistake(only_the_leaves_are_clean, hint=1),
        Mistake(only_the_leaves_hold_the_same, hint=1),
        Mistake(tuples, hint=2),
        Mistake(one_after_the_other, hint=3),
        Mistake(swapped, hint=3),
        Mistake(hand_formula, hint=2),
        Mistake(finite_difference, hint=2, within=0.1),
    ),
    predictions=(grad_after_grad, is_a_tensor),
)
