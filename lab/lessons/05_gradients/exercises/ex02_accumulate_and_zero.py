"""Accumulate and zero.

Every training loop zeroes the gradients before it computes new ones, because
backward() adds. Large batches are split in parts by leaving the zeroing out
on purpose: the gradients of the parts accumulate to that of the whole.
"""

# A type checker cannot see that .grad is not None after backward().
# mypy: disable-error-code="no-untyped-call,union-attr,return-value,operator"

from __future__ import annotations

import random

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


def accumulate_and_zero(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return three gradients, each as x.grad shows it: the first, the
    accumulated and the fresh one.

    first: after backward() of x². accumulated: after backward() of x³ on top
    of it. fresh: after x.grad is set to zero and backward() of x³ has run
    once more. x is a scalar tensor that requires grad and whose .grad is None
    so far. At x = 2 the gradients are 4, 16 and 12. While you are judged,
    gradients reach x multiplied by a secret number.
    """
    (x**2).backward()
    first = x.grad.clone()
    (x**3).backward()
    accumulated = x.grad.clone()
    x.grad.zero_()
    (x**3).backward()
    return first, accumulated, x.grad


HINTS = (
    "x.grad after the first backward() and x.grad after the second: is that "
    "one object, or are they two?",
    "Look up torch.Tensor.clone, which keeps what a tensor holds now, and "
    "torch.Tensor.zero_, which sets it to 0 in place.",
    "first = x.grad.____() keeps the number while x.grad goes on changing; "
    "x.grad.____() starts afresh.",
)


def alias(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All three are {got[first]}: you kept the same tensor three times.

    x.grad is one object, and backward() and zero_() change it in place, so
    every name for it shows the last number. Keep a copy of what it holds at
    the time.
    """
    (x**2).backward()
    first = x.grad
    (x**3).backward()
    accumulated = x.grad
    x.grad.zero_()
    (x**3).backward()
    fresh = x.grad
    return first, accumulated, fresh


def alias_of_two(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first gradient became {got[first]}, the same as the accumulated
    one: both are names for one tensor.

    backward() added to it in place after you had put it aside. Keep a copy of
    what it holds at the time.
    """
    (x**2).backward()
    first = x.grad
    (x**3).backward()
    accumulated = x.grad
    x.grad = None
    (x**3).backward()
    return first, accumulated, x.grad


def alias_of_accumulated(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The second gradient became {got[accumulated]}, the same as the last:
    both are names for one tensor.

    It was {want[accumulated]} when you put it aside; then zero_() and
    backward() changed it in place. Keep a copy of what it holds at the time.
    """
    (x**2).backward()
    first = x.grad.clone()
    (x**3).backward()
    accumulated = x.grad
    x.grad.zero_()
    (x**3).backward()
    return first, accumulated, x.grad


def forgot_zero(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The last is {got[fresh]} = {want[accumulated]} + {want[fresh]}: what
    was there before is still in it.

    backward() adds to .grad. Set it to zero before the last backward().
    """
    (x**2).backward()
    first = x.grad.clone()
    (x**3).backward()
    accumulated = x.grad.clone()
    (x**3).backward()
    return first, accumulated, x.grad


def zeroed_early(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The second is {got[accumulated]}, that of x³ alone: the {want[first]}
    of the first pass is not in it.

    x.grad was set to zero too early. Here the second backward() is meant to
    add to the first.
    """
    (x**2).backward()
    first = x.grad.clone()
    x.grad.zero_()
    (x**3).backward()
    accumulated = x.grad.clone()
    x.grad.zero_()
    (x**3).backward()
    return first, accumulated, x.grad


def returned_by_grad(x: Tensor) -> list[Tensor]:
    """The gradients of three passes, and x.grad is still None:
    torch.autograd.grad() returns them and stores nothing.

    The second has to hold the first as well. Let backward() add it up.
    """
    return [torch.autograd.grad(x**power, x)[0] for power in (2, 3, 3)]


def added_by_hand(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers are right, but you added them up yourself: x.grad is still
    None.

    torch.autograd.grad() returns gradients and stores nothing. Here
    backward() is meant to add them up in x.grad.
    """
    (first,) = torch.autograd.grad(x**2, x)
    (fresh,) = torch.autograd.grad(x**3, x)
    return first, first + fresh, fresh


def subtracted(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The last number is right, but you worked it out: x.grad still holds
    {got[x.grad afterwards]}.

    Set x.grad to zero and let backward() of x³ run once more.
    """
    (x**2).backward()
    first = x.grad.clone()
    (x**3).backward()
    return first, x.grad, x.grad - first


def zeroed_last(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The last is 0: you zeroed .grad and stopped. Run backward() of x³ once
    more to see that it starts afresh.
    """
    (x**2).backward()
    first = x.grad.clone()
    (x**3).backward()
    accumulated = x.grad.clone()
    x.grad.zero_()
    return first, accumulated, x.grad


def zeroed_a_copy(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The accumulated gradient became 0, and the last is {got[fresh]}: you
    zeroed your copy, not x.grad.

    backward() adds to x.grad, and that still held {want[accumulated]}.
    """
    (x**2).backward()
    first = x.grad.clone()
    (x**3).backward()
    accumulated = x.grad.clone()
    accumulated.zero_()
    (x**3).backward()
    return first, accumulated, x.grad


def literal(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Right at x = 2 and nowhere else: 4, 16 and 12 are typed in. At another
    x they are something else.
    """
    return torch.tensor(4.0), torch.tensor(16.0), torch.tensor(12.0)


def hand_formula(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The right formulas, but these numbers did not come through the graph of
    x.

    At x = {x} your first is {got[first]}, which is 2x. The judge multiplies
    every gradient by a secret number on its way to x, here {factor}, so
    backward() would have brought {want[first]}. A formula worked out by hand
    misses that, and so does a copy of x. Call backward() and read x.grad.
    """
    return 2 * x, 2 * x + 3 * x**2, 3 * x**2


def finite_difference(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """That is a finite difference: two values divided by a small step,
    {got[first]} at x = {x}.

    It comes near the derivative, but nothing has been accumulated in x.grad.
    Call backward() and read it there.
    """
    h = 1e-3
    square = ((x + h) ** 2 - x**2) / h
    cube = ((x + h) ** 3 - x**3) / h
    return square, square + cube, cube


def swapped(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The second and the third are in the wrong order: {want[accumulated]} is
    the accumulated one, {want[fresh]} the fresh one.
    """
    (x**2).backward()
    first = x.grad.clone()
    (x**3).backward()
    accumulated = x.grad.clone()
    x.grad.zero_()
    (x**3).backward()
    return first, x.grad, accumulated


def squares_only(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The second is {got[accumulated]} = {want[first]} + {want[first]}: you
    ran backward() of x² again.

    From the second pass on it is x³ that is differentiated.
    """
    (x**2).backward()
    first = x.grad.clone()
    (x**2).backward()
    accumulated = x.grad.clone()
    x.grad.zero_()
    (x**2).backward()
    return first, accumulated, x.grad


def twice(x: Tensor) -> Tensor:
    """Each backward() of x² brings 2x, and the second adds to the first."""
    (x**2).backward()
    (x**2).backward()
    return x.grad


def a_second_name(x: Tensor) -> Tensor:
    """first is no copy. It is a second name for the tensor x.grad, which the
    second backward() changed in place.
    """
    (x**2).backward()
    first = x.grad
    (x**2).backward()
    return first


def draw(rng: random.Random) -> dict[str, float]:
    return {"x": rng.randrange(6, 25) / 8}


def observe(attempt: Attempt, trial: Trial) -> Values:
    x = trial.leaf("x")
    answer = attempt(x)
    gradients = read_answer(answer, "first", "accumulated", "fresh")
    _, accumulated, fresh = answer
    shared = _memory(accumulated) == _memory(fresh)
    return {
        **gradients,
        "x.grad afterwards": read_number(x.grad),
        "the last two share their memory": shared,
    }


def _memory(gradient: object) -> int:
    """Tell by where its number lies whether a gradient was copied."""
    if isinstance(gradient, Tensor):
        return gradient.data_ptr()
    return id(gradient)


def expected(trial: Trial) -> Values:
    x = trial.inputs["x"]
    square, cube = trial.factor * 2 * x, trial.factor * 3 * x**2
    return {
        "first": square,
        "accumulated": square + cube,
        "fresh": cube,
        "x.grad afterwards": cube,
        # No right answer has it: it tells a missing copy from an early zero.
        "the last two share their memory": False,
    }


CHECK = Check(
    solution=accumulate_and_zero,
    first={"x": 2.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(alias, hint=1),
        Mistake(alias_of_two, hint=1),
        Mistake(alias_of_accumulated, hint=1),
        Mistake(forgot_zero, hint=2),
        Mistake(zeroed_early, hint=3),
        Mistake(returned_by_grad, hint=2),
        Mistake(added_by_hand, hint=2),
        Mistake(subtracted, hint=2),
        Mistake(zeroed_last, hint=3),
        Mistake(zeroed_a_copy, hint=3),
        Mistake(swapped, hint=1),
        Mistake(literal, hint=1),
        Mistake(hand_formula, hint=2),
        Mistake(finite_difference, hint=2, within=0.1),
        Mistake(squares_only, hint=3),
    ),
    predictions=(twice, a_second_name),
)
