"""Vector output.

backward() never builds a Jacobian: a layer with a thousand inputs and outputs
would have one of a million numbers. It takes one weight for each output and
brings the weighted sum of all rows, for the price of a single pass. A loss is
the case of one output with the weight 1.
"""

# A type checker cannot see that .grad is not None after backward().
# mypy: disable-error-code="no-untyped-call,return-value,no-any-return"

from __future__ import annotations

import operator
import random
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


def vector_output(
    x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor
) -> Tensor:
    """Return vᵀJ, where J is the Jacobian of y = f(x), in one backward pass.

    x, of shape (n,), requires grad, and its .grad is None so far. y and v
    have shape (m,), and J has shape (m, n): J[i, j] = dy[i]/dx[j]. So vᵀJ has
    shape (n,); its entry j is the sum over i of v[i] * J[i, j]. Neither loop
    over the outputs nor build J: autograd may pass through f once. With
    y = (x[0]², x[0] x[1], 3 x[1]) at x = [2, 1] and v = [1, 2, 3] it is
    [6, 13]. The f that you are given is another one each time, and while you
    are judged it multiplies the gradients that pass through it by a secret
    number.
    """
    f(x).backward(gradient=v)
    return x.grad


HINTS = (
    "backward() starts from one number. Of which single number, made of y "
    "and v, is vᵀJ the gradient?",
    "Look up the argument gradient of torch.Tensor.backward, or grad_outputs "
    "of torch.autograd.grad: one weight for each output.",
    "y = f(x); y.backward(gradient=____), and vᵀJ lies in x.____",
)


def no_weights(x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """PyTorch refused: "grad can be implicitly created only for scalar
    outputs". y has several numbers, and backward() does not guess how they
    count.

    v says how, and nobody told backward() of v.
    """
    f(x).backward()
    return x.grad


def summed(x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """You got {got[vᵀJ]}, the gradient of y.sum(): every output counts once.

    Here output i counts v[i] times, with v = {v}. The message of backward()
    for a vector tempts many to write sum(), and v is lost.
    """
    f(x).sum().backward()
    return x.grad


def averaged(x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """You got {got[vᵀJ]}, the gradient of y.mean(): every output counts the
    same.

    Here output i counts v[i] times, with v = {v}.
    """
    f(x).mean().backward()
    return x.grad


def mean_of_weighted(
    x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor
) -> Tensor:
    """You got {got[vᵀJ]}, which is {want[vᵀJ]} divided by the number of
    outputs: mean() where a sum is meant.
    """
    (v * f(x)).mean().backward()
    return x.grad


def one_output(x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """You got {got[vᵀJ]}: that is one output with its weight, the first. The
    others count too.
    """
    (v[0] * f(x)[0]).backward()
    return x.grad


def loop_over_outputs(
    x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor
) -> Tensor:
    """The numbers are right, but they took {got[backward passes]} passes, one
    for every output.

    Each pass walks the whole graph. A pass that starts with all the weights
    at once brings the same sum.
    """
    y = f(x)
    for weight, output in zip(v, y, strict=True):
        (weight * output).backward(retain_graph=True)
    return x.grad


def unweighted_loop(
    x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor
) -> Tensor:
    """You got {got[vᵀJ]}: a backward pass for every output, added up without
    their weights.

    v is not in it, and the loop is not needed.
    """
    y = f(x)
    for output in y:
        output.backward(retain_graph=True)
    return x.grad


def backward_twice(
    x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor
) -> Tensor:
    """You got {got[vᵀJ]} = {want[vᵀJ]} + {want[vᵀJ]}: two backward passes
    accumulated in x.grad. One is enough.
    """
    L = v @ f(x)
    L.backward(retain_graph=True)
    L.backward()
    return x.grad


def whole_jacobian(
    x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor
) -> Tensor:
    """You returned J itself, of a row for each output: {got[vᵀJ]}.

    vᵀJ is the sum of its rows, weighted by v, and there is a way to have it
    without J.
    """
    y = f(x)
    rows = [torch.autograd.grad(o, x, retain_graph=True)[0] for o in y]
    return torch.stack(rows)


def tuple_of_one(x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor) -> Any:
    """The right numbers, still in their tuple: torch.autograd.grad() returns
    one gradient for each input that you name. Take out the only one.
    """
    return torch.autograd.grad(v @ f(x), x)


def value(x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """You returned a value, {got[vᵀJ]}: the sum of the weighted outputs. The
    right number to differentiate, but its gradient is what is asked for.
    """
    return v @ f(x)


def finite_difference(
    x: Tensor, f: Callable[[Tensor], Tensor], v: Tensor
) -> Tensor:
    """That is a finite difference: values of f divided by a small step,
    {got[vᵀJ]} at x = {x}.

    It comes near vᵀJ and never through the graph, and it calls f once more
    for every input.
    """
    h = 1e-3
    x = x.detach()
    slopes = []
    for j in range(len(x)):
        step = torch.zeros_like(x)
        step[j] = h
        slopes.append(v @ (f(x + step) - f(x)) / h)
    return torch.stack(slopes)


def a_vector(x: Tensor) -> Tensor | None:
    """It raises a RuntimeError: x² has several entries, and without weights
    backward() does not know of which number the gradient is wanted.
    """
    y = x**2
    y.backward()
    return x.grad


def no_weight_at_all(x: Tensor) -> Tensor | None:
    """Zeros, and not None: a pass was made, and it brought each entry 0
    times its derivative.
    """
    y = x**2
    y.backward(torch.zeros_like(y))
    return x.grad


def twice_the_weights(x: Tensor) -> Tensor | None:
    """4x: a weight of 2 on each entry of x², whose derivative is 2x. vᵀJ
    grows with v as a sum does.
    """
    y = x**2
    y.backward(torch.full_like(y, 2))
    return x.grad


def draw(rng: random.Random) -> dict[str, Input]:
    # Positive, so that nothing cancels, and m is not n, so that no J can be
    # taken for its transpose.
    n, m = rng.choice(((2, 3), (3, 2), (2, 4), (3, 4)))
    return {
        "x": [rng.randrange(2, 9) / 4 for _ in range(n)],
        "v": [rng.choice((0.5, 1.5, 2.0, 3.0)) for _ in range(m)],
        "a": [[rng.randint(1, 6) / 2 for _ in range(n)] for _ in range(m)],
    }


def observe(attempt: Attempt, trial: Trial) -> Values:
    x = trial.tensor("x").requires_grad_()
    v, a = trial.tensor("v"), trial.tensor("a")
    passes: list[int] = []

    def count(cotangent: Tensor) -> None:
        passes.append(_passes(cotangent))

    def f(x: Tensor) -> Tensor:
        """Return the sums over j of a[i, j] * x[j]²."""
        y = (a * trial.secret(x) ** 2).sum(dim=1)
        if y.requires_grad:
            y.register_hook(count)
        return y

    product = read_value(attempt(x, f, v))
    return {"vᵀJ": product, "backward passes": sum(passes)}


def _passes(cotangent: Tensor) -> int:
    """Count the passes that a hook sees at once.

    Under vmap, with which torch.func.jacrev builds J, there is one for every
    output, and no number can be read out of a tensor.
    """
    try:
        cotangent.sum().item()
    except RuntimeError:
        return len(cotangent)
    return 1


def expected(trial: Trial) -> Values:
    inputs: Any = trial.inputs
    x, v, a = inputs["x"], inputs["v"], inputs["a"]
    columns = zip(*a, strict=True)
    sums = [sum(map(operator.mul, v, column)) for column in columns]
    return {
        "vᵀJ": [
            trial.factor * 2 * p * q for p, q in zip(x, sums, strict=True)
        ],
        "backward passes": 1,
    }


CHECK = Check(
    solution=vector_output,
    first={
        "x": [2.0, 1.0],
        "v": [1.0, 2.0, 3.0],
        "a": [[1.0, 0.5], [2.0, 1.0], [0.5, 3.0]],
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(no_weights, hint=1),
        Mistake(summed, hint=2),
        Mistake(averaged, hint=2),
        Mistake(mean_of_weighted, hint=1),
        Mistake(one_output, hint=2),
        Mistake(loop_over_outputs, hint=2),
        Mistake(unweighted_loop, hint=2),
        Mistake(backward_twice, hint=3),
        Mistake(whole_jacobian, hint=1),
        Mistake(tuple_of_one, hint=3),
        Mistake(value, hint=3),
        Mistake(finite_difference, hint=2, within=0.1),
    ),
    predictions=(a_vector, no_weight_at_all, twice_the_weights),
)
