"""Detach one path.

Often a network's own output is used as if it were given: the target of a
temporal difference, the teacher of a student, the straight-through trick of a
quantiser. detach() stops the gradient on that one path and leaves the value,
and all the other paths, as they are.
"""

# mypy: disable-error-code="no-untyped-call,operator,return-value"

from __future__ import annotations

import random

import torch
from torch import Tensor

from lab.practise import Attempt, Check, Mistake, Trial, Values, read_answer


def detach_one_path(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return z = x · stop(x²) and its gradient dz/dx.

    stop(…) keeps a value and lets no gradient through, so z is x³ and its
    gradient is not 3x². x is a scalar tensor that requires grad and whose
    .grad is None so far. Let autograd differentiate, through x itself. At
    x = 3 the two are 27 and 9. While you are judged, gradients reach x
    multiplied by a secret number.
    """
    z = x * (x**2).detach()
    z.backward()
    return z, x.grad


HINTS = (
    "By which two paths does a nudge of x reach z, and which of them is to "
    "be treated as a constant?",
    "Look up torch.Tensor.detach: it returns a tensor with the same value "
    "that nothing is recorded for.",
    "z = x * (…).____(), with the path that is to be constant in brackets; "
    "then backward().",
)


def nothing_stopped(x: Tensor) -> tuple[Tensor, Tensor]:
    """dz/dx is {got[dz/dx]}, which is 3x²: the gradient came back along both
    paths, 2x² of it through the square.

    Either nothing was detached, or the result of detach() was not used.
    detach() returns a new tensor and changes nothing about the old one.
    """
    z = x * x**2
    z.backward()
    return z, x.grad


def other_path_stopped(x: Tensor) -> tuple[Tensor, Tensor]:
    """dz/dx is {got[dz/dx]}, which is 2x²: you stopped the path of the factor
    x, and the gradient came back through the square.

    It is the square that is to be a constant.
    """
    z = x.detach() * x**2
    z.backward()
    return z, x.grad


def all_stopped(x: Tensor) -> tuple[Tensor, Tensor]:
    """Nothing leads back from z to x any more, so backward() refuses: you
    stopped both paths, or the whole of z.

    One path is to stay. Only the square is detached, or computed where
    nothing is recorded.
    """
    z = (x * x**2).detach()
    z.backward()
    return z, x.grad


def all_stopped_and_switched_on(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """x.grad is None: z was cut off from x and then told to require grad.
    That makes z a leaf of its own, and its gradient ends there.

    requires_grad_() starts a new graph and joins no old one. Cut off the
    square alone.
    """
    z = (x * x**2).detach().requires_grad_()
    z.backward()
    return z, x.grad


def switched_off(x: Tensor) -> tuple[Tensor, Tensor]:
    """Only a leaf can be switched off, and the square was computed: its
    requires_grad follows from x.

    What you want is another tensor with the same value, outside the graph.
    """
    square = x**2
    square.requires_grad_(False)
    z = x * square
    z.backward()
    return z, x.grad


def backward_twice(x: Tensor) -> tuple[Tensor, Tensor]:
    """You got {got[dz/dx]} = {want[dz/dx]} + {want[dz/dx]}: two backward
    passes accumulated in x.grad. One is enough.
    """
    z = x * (x**2).detach()
    z.backward(retain_graph=True)
    z.backward()
    return z, x.grad


def square_alone(x: Tensor) -> tuple[Tensor, Tensor]:
    """dz/dx is {got[dz/dx]}, which is 2x: you returned the gradient of the
    square, the very path that is to be stopped.

    z is the product. Differentiate that.
    """
    z = x * (x**2).detach()
    (x**2).backward()
    return z, x.grad


def forgot_backward(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """z is right, but dz/dx is None: nothing has gone back through z yet, or
    it ended at a copy of x. Call z.backward() before you read x.grad.
    """
    z = x * (x**2).detach()
    return z, x.grad


def gradient_alone(x: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient is right, but z is {got[z]} at x = {x}: it should be
    {want[z]}.

    Return both, first z and then the gradient.
    """
    z = x * (x**2).detach()
    z.backward()
    return x.grad, x.grad


def swapped(x: Tensor) -> tuple[Tensor, Tensor]:
    """Both numbers are right, in the wrong order: you returned the gradient
    first. The first has to be z = {want[z]}.
    """
    z = x * (x**2).detach()
    z.backward()
    return x.grad, z


def literal(x: Tensor) -> tuple[Tensor, Tensor]:
    """Right at x = 3 and nowhere else: 27 and 9 are typed in.

    At x = {x} they are something else. Build z from x and let autograd
    differentiate it.
    """
    return torch.tensor(27.0), torch.tensor(9.0)


def hand_formula(x: Tensor) -> tuple[Tensor, Tensor]:
    """The right formula, but the gradient did not come through the graph of
    x.

    At x = {x} you returned {got[dz/dx]}, which is x². The judge multiplies
    every gradient by a secret number on its way to x, here {factor}, so
    autograd would have brought {want[dz/dx]}. A formula worked out by hand
    misses that, and so do a copy of x and a finite difference in which the
    square is held fixed. Build z from x, then backward().
    """
    return x**3, x**2


def finite_difference(x: Tensor) -> tuple[Tensor, Tensor]:
    """That is a finite difference of x³: it nudges x on both paths and comes
    near 3x², here {got[dz/dx]}.

    Values cannot show where a gradient was stopped, as z is the same with and
    without it. Only going back through the graph can.
    """
    h = 1 / 16
    return x**3, ((x + h) ** 3 - x**3) / h


def half_of_it(x: Tensor) -> Tensor | None:
    """x, where x² would have 2x: only the path that is not detached brings
    something, and to that one the other factor is a constant.
    """
    (x * x.detach()).backward()
    return x.grad


def shared_memory(x: Tensor) -> Tensor:
    """0. detach() leaves the graph and copies nothing: the tensor that it
    returns shares its memory with x, so an edit in place shows in both.
    clone() copies.
    """
    constant = x.detach()
    constant.zero_()
    return x


def draw(rng: random.Random) -> dict[str, float]:
    """x stays away from 0 and 1, where x, x², 2x and 3x² meet."""
    return {"x": rng.randrange(10, 33) / 8}


def observe(attempt: Attempt, trial: Trial) -> Values:
    """The two facts at the end tell mistakes of the same numbers apart."""
    x, reached = trial.leaf("x"), list[Tensor]()
    x.register_hook(reached.append)
    answer = attempt(x)
    seen = read_answer(answer, "z", "dz/dx")
    z, _ = answer
    return {
        **seen,
        "a graph begins at z": _is_leaf_with_grad(z),
        "x was reached more than once": len(reached) > 1,
    }


def _is_leaf_with_grad(z: object) -> bool:
    return isinstance(z, Tensor) and z.is_leaf and z.requires_grad


def expected(trial: Trial) -> Values:
    x = trial.inputs["x"]
    return {"z": x**3, "dz/dx": trial.factor * x**2}


CHECK = Check(
    solution=detach_one_path,
    first={"x": 3.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(nothing_stopped, hint=1),
        Mistake(other_path_stopped, hint=1),
        Mistake(all_stopped, hint=3),
        Mistake(all_stopped_and_switched_on, hint=3),
        Mistake(switched_off, hint=2),
        Mistake(backward_twice, hint=3),
        Mistake(square_alone, hint=1),
        Mistake(forgot_backward, hint=3),
        Mistake(gradient_alone, hint=3),
        Mistake(swapped, hint=3),
        Mistake(literal, hint=1),
        Mistake(hand_formula, hint=2, within=0.01),
        Mistake(finite_difference, hint=1, within=0.1),
    ),
    predictions=(half_of_it, shared_memory),
)
