"""Shared input.

A weight is used once for every example of a batch, for every step of a
sequence and for every place in a picture. Each use is a path from the loss
back to it, each path brings its share, and the gradient is their sum. This is
why backward() adds to .grad and does not replace it.
"""

# A type checker cannot see that .grad is not None after backward().
# mypy: disable-error-code="no-untyped-call,return-value,misc,operator"
# mypy: disable-error-code="union-attr,list-item,attr-defined"

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable
from functools import reduce
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
    read_answer,
    read_value,
)


def shared_input(
    x: Tensor, f: Callable[..., Tensor], n: int
) -> tuple[list[Tensor], Tensor]:
    """Return the n shares of dz/dx, and dz/dx itself, where z uses x n times.

    f takes n scalar tensors and returns one: z = f(x, …, x). x is a scalar
    tensor that requires grad, and its .grad is None so far. The share of a
    use is the derivative of z by that argument alone, the others held fixed.
    Return a list of the shares in the order of the arguments, then dz/dx.

    With f(a, b) = a * b**2 at x = 3 the shares are 9 and 18, and dz/dx is 27.
    The f that you are given is another one each time. Let autograd
    differentiate it: while you are judged, it multiplies the gradients that
    pass through it by a secret number.
    """
    uses = [x.clone() for _ in range(n)]
    for use in uses:
        use.retain_grad()
    f(*uses).backward()
    return [use.grad for use in uses], x.grad


HINTS = (
    "How many paths lead from z back to x? And at which point of such a path "
    "would its share be seen before it joins the others?",
    "Look up torch.Tensor.clone, which is recorded: a copy for each use gets "
    "the gradient of that use and hands it on to x.",
    "uses = [x.____() for _ in range(n)] are n tensors to give to f; ask "
    "each with ____() to keep its gradient.",
)

Shares = tuple[list[Tensor], Tensor]


def divided_evenly(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """You divided dz/dx by the number of uses: every share is {got[shares]}
    at x = {x}.

    Their sum is right, but a use brings what f makes of it, one more and
    another less. Each has a path of its own that shows its share.
    """
    f(*[x] * n).backward()
    return [x.grad / n] * n, x.grad


def whole_every_time(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """Every share is the whole dz/dx: you asked for the gradient of x, and
    that is the sum over all paths already.

    n names for x are one tensor. To tell the paths apart, each use needs a
    tensor of its own.
    """
    shares = [torch.autograd.grad(f(*[x] * n), x)[0] for _ in range(n)]
    return shares, shares[0]


def growing(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """The shares add up from one to the next, {got[shares]}: what earlier
    passes brought is still in x.grad.

    You let one use after the other track and held the others fixed, which is
    right. backward() adds to x.grad, so the second number is the sum of two
    shares, and so on.
    """
    shares = []
    for i in range(n):
        f(*[x if i == j else x.detach() for j in range(n)]).backward()
        shares.append(x.grad.clone())
    return shares, x.grad


def alias(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """Every share shows the last number, {got[dz/dx]}: you put x.grad itself
    aside each time.

    x.grad is one tensor, which backward() changes in place. After all passes
    it holds the sum, under all names that you gave it.
    """
    shares = []
    for i in range(n):
        f(*[x if i == j else x.detach() for j in range(n)]).backward()
        shares.append(x.grad)
    return shares, x.grad


def last_share_only(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """The shares are right, but for dz/dx you returned the last of them
    alone, {got[dz/dx]}.

    Each pass began with an empty x.grad, so at the end it holds what the last
    one brought. A nudge of x moves all the arguments at once, and dz/dx is
    what all the paths bring together.
    """
    shares = []
    for i in range(n):
        x.grad = None
        f(*[x if i == j else x.detach() for j in range(n)]).backward()
        shares.append(x.grad.clone())
    return shares, x.grad


def cut_off(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """The shares are right, but dz/dx is None: your copies have no path back
    to x.

    detach(), .data and Parameter() cut a copy off, so each share stayed where
    it was, and nothing added them up. A copy that is recorded hands its share
    on.
    """
    uses = [x.detach().clone().requires_grad_() for _ in range(n)]
    f(*uses).backward()
    return [use.grad for use in uses], x.grad


def not_kept(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """dz/dx is right, but the shares are None: they passed through your
    copies, and the copies did not keep them.

    A recorded copy is a result, and a result keeps its gradient only where
    it is asked to, before backward().
    """
    uses = [x.clone() for _ in range(n)]
    f(*uses).backward()
    return [use.grad for use in uses], x.grad


def arrived_twice(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """The shares are right, but dz/dx is {got[dz/dx]} = {want[dz/dx]} +
    {want[dz/dx]}: it arrived twice.

    The pass that brought the shares brought their sum to x as well, and then
    another backward() added it again. One pass does both.
    """
    uses = [x.clone() for _ in range(n)]
    for use in uses:
        use.retain_grad()
    f(*uses).backward()
    f(*[x] * n).backward()
    return [use.grad for use in uses], x.grad


def backwards(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """The shares are right, in the wrong order: yours begin with that of the
    last argument.
    """
    uses = [x.clone() for _ in range(n)]
    for use in uses:
        use.retain_grad()
    f(*uses).backward()
    return [use.grad for use in reversed(uses)], x.grad


def values(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """You returned values: x for each share, and z itself, {got[dz/dx]}, for
    dz/dx.

    A share says how fast z grows with one of its arguments. That takes a
    backward().
    """
    uses = [x.clone() for _ in range(n)]
    return uses, f(*uses)


def finite_difference(x: Tensor, f: Callable[..., Tensor], n: int) -> Shares:
    """Those are finite differences: values of f divided by a small step,
    {got[shares]} at x = {x}.

    They come near the shares and never through the graph, and f is called
    once more for every use. One backward() brings all shares.
    """
    h = 1e-3
    x = x.detach()
    z = f(*[x] * n)
    shares = []
    for i in range(n):
        nudged = f(*[x + h if i == j else x for j in range(n)])
        shares.append((nudged - z) / h)
    return shares, torch.stack(shares).sum()


def a_square(x: Tensor) -> Tensor | None:
    """2x: x * x uses x twice, and each use brings the other factor, which is
    x.
    """
    (x * x).backward()
    return x.grad


def two_generations(x: Tensor) -> Tensor | None:
    """4: z uses b twice, and b uses x twice. The paths are four, and each
    brings 1.
    """
    b = x + x
    z = b + b
    z.backward()
    return x.grad


def nothing_left(x: Tensor) -> Tensor | None:
    """0, and not None: two paths bring something, 1 and -1, and their sum is
    a gradient of zero.
    """
    (x - x).backward()
    return x.grad


def draw(rng: random.Random) -> dict[str, Input]:
    n = rng.randint(2, 4)
    # All different, so that no two shares are equal.
    a = [count / 4 for count in rng.sample(range(1, 9), n)]
    return {"x": rng.randrange(6, 25) / 8, "a": a}


def observe(attempt: Attempt, trial: Trial) -> Values:
    x, a = trial.tensor("x").requires_grad_(), trial.tensor("a")
    calls = 0

    def f(*uses: Tensor) -> Tensor:
        """Return the product of a[i] + uses[i]."""
        nonlocal calls
        calls += 1
        factors = [part + use for part, use in zip(a, uses, strict=True)]
        return trial.secret(reduce(torch.mul, factors))

    with warnings.catch_warnings(action="ignore"):  # of the .grad of a result
        answer = attempt(x, f, len(a))
        observed = read_answer(answer, "shares", "dz/dx", read=read_value)
    # No right answer has it: it tells an alias from the whole gradient.
    return {**observed, "shares are x.grad": calls > 1 and _is(answer, x)}


def _is(answer: Any, x: Tensor) -> bool:
    """Say whether the first share lies in memory where x.grad does."""
    shares = answer[0] if isinstance(answer, list | tuple) else None
    first = shares[0] if isinstance(shares, list | tuple) and shares else None
    if not isinstance(first, Tensor) or x.grad is None:
        return False
    return first.data_ptr() == x.grad.data_ptr()


def expected(trial: Trial) -> Values:
    inputs: Any = trial.inputs
    parts = [a + inputs["x"] for a in inputs["a"]]
    shares = [trial.factor * math.prod(parts) / part for part in parts]
    return {"shares": shares, "dz/dx": sum(shares)}


CHECK = Check(
    solution=shared_input,
    first={"x": 2.0, "a": [1.0, 2.0, 0.5]},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(divided_evenly, hint=1),
        Mistake(whole_every_time, hint=1),
        Mistake(growing, hint=2),
        Mistake(alias, hint=2),
        Mistake(last_share_only, hint=1),
        Mistake(cut_off, hint=2),
        Mistake(not_kept, hint=3),
        Mistake(arrived_twice, hint=3),
        Mistake(backwards, hint=3),
        Mistake(values, hint=1),
        Mistake(finite_difference, hint=2, within=0.1),
    ),
    predictions=(a_square, two_generations, nothing_left),
)
