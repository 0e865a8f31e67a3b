"""Jacobian and per-sample gradients.

A batch's loss is an average, so its gradient is an average too: what each
sample asked for is lost. Private training clips every sample's gradient on
its own, and a wrong label shows as a gradient far from the others. Mapped
over the batch, all of them come from a single call.
"""

# mypy: disable-error-code="no-untyped-call,union-attr"

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

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
    read_answer,
    read_value,
)


def jacobian_and_per_sample(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the Jacobian of f at x, and the gradient of each sample's loss.

    f takes x, of shape (n,), and returns a vector of shape (m,). Its Jacobian
    J has the shape (m, n): J[i, j] is the derivative of output i by x[j].

    loss takes w, of shape (k,), and one sample, of shape (k,), and returns a
    scalar. batch has the shape (b, k), a sample in each row. Row i of the
    per-sample gradients, of shape (b, k), is the gradient of
    loss(w, batch[i]) by w.

    Write no loop and no comprehension: neither over the outputs of f nor over
    the samples. x and w are leaves that require grad.

    For f(x) = torch.stack([x[0] ** 2, x[0] * x[1], 5 * x[1]]) at [2., 3.],
    J is [[4., 0.], [3., 2.], [0., 5.]]. For loss(w, sample) =
    (w * sample).sum() ** 2 at w = [1., 2.], the batch [[1., 0.], [0., 1.]]
    gives [[2., 0.], [0., 4.]]. While you are judged, f is another function,
    and the derivatives of f and loss are multiplied by a secret number.
    """
    jacobian = torch.func.jacrev(f)(x)
    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, batch)
    return jacobian, gradients


HINTS = (
    "One backward pass gives one row of J, and one sample's loss one "
    "gradient. What has to be mapped, over what, so that it is done at once?",
    "Look up torch.func.jacrev for all rows of a Jacobian, and "
    "torch.func.vmap around torch.func.grad for one gradient per sample.",
    "vmap(grad(loss), (____, ____)): for each argument the dimension to map "
    "over, and None for what every sample shares",
)


def row_by_row(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """The numbers of J are right, but f was differentiated once for each row
    or column: a loop.

    torch.autograd.functional.jacobian() is one inside, unless it is told to
    vectorize. There is a function that takes all rows at once.
    """
    y = f(x)
    rows = [torch.autograd.grad(e, x, retain_graph=True)[0] for e in y]
    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, batch)
    return torch.stack(rows), gradients


def sample_by_sample(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """The per-sample gradients are right, but loss was called for each sample
    on its own: a loop.

    vmap() calls it once, with something that stands for every sample.
    """
    gradients = [torch.autograd.grad(loss(w, s), w)[0] for s in batch]
    return torch.func.jacrev(f)(x), torch.stack(gradients)


def two_loops(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """All numbers are right, and both come from a loop: one over the outputs
    of f, one over the samples.

    A pass for each of them is what takes long where there are thousands. Both
    loops can be handed to torch.func.
    """
    y = f(x)
    rows = [torch.autograd.grad(e, x, retain_graph=True)[0] for e in y]
    gradients = [torch.autograd.grad(loss(w, s), w)[0] for s in batch]
    return torch.stack(rows), torch.stack(gradients)


def transposed(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """Your J is transposed: {got[J]}. It has a row for each output of f and a
    column for each entry of x: {want[J]}.
    """
    jacobian = torch.func.jacrev(f)(x).T
    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, batch)
    return jacobian, gradients


def summed_outputs(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """Your J is {got[J]}: that is the gradient of f(x).sum(), all rows of J
    added up.

    One backward pass gives one weighted sum of the rows. The rows themselves
    need one pass each, or a function that does them all at once.
    """
    (jacobian,) = torch.autograd.grad(f(x).sum(), x)
    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, batch)
    return jacobian, gradients


def whole_batch(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """Your gradient is {got[per sample]}, one for the whole batch: loss was
    given all of it as if it were one sample.

    loss takes one sample. Something has to map it over the rows of batch.
    """
    return torch.func.jacrev(f)(x), torch.func.grad(loss)(w, batch)


def summed_over_the_batch(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """Your gradient is {got[per sample]}: the samples' losses were added up
    before they were differentiated, and so their gradients are too.

    Nothing can take a sum apart again. Differentiate each loss, then map.
    """
    losses = torch.func.vmap(loss, (None, 0))(w, batch)
    return torch.func.jacrev(f)(x), torch.autograd.grad(losses.sum(), w)[0]


def averaged_over_the_batch(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """Your gradient is {got[per sample]}: that of the batch's mean loss, as
    in training.

    It is the mean of the rows that are asked for, {want[per sample]}, and the
    rows cannot be had back from it. Differentiate each loss, then map.
    """
    losses = torch.func.vmap(loss, (None, 0))(w, batch)
    return torch.func.jacrev(f)(x), torch.autograd.grad(losses.mean(), w)[0]


def by_the_sample(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """Your per-sample gradients are {got[per sample]}: each is by the sample,
    not by w.

    They say how the data would have to change. Training changes w, the first
    argument of loss.
    """
    by_sample = torch.func.grad(loss, argnums=1)
    return (
        torch.func.jacrev(f)(x),
        torch.func.vmap(by_sample, (None, 0))(w, batch),
    )


def w_is_mapped(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """vmap() was told to go through w as well, which has {k} entries, beside
    the samples of batch: 'Expected all tensors to have the same size in the
    mapped dimension'.

    Every sample has the same w. Say which arguments are mapped, and over
    which dimension.
    """
    gradients = torch.func.vmap(torch.func.grad(loss))(w, batch)
    return torch.func.jacrev(f)(x), gradients


def literal(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """The numbers of the example are typed in, and f is another function
    here. Differentiate the f and the loss that you are given.
    """
    return (
        torch.tensor([[4.0, 0.0], [3.0, 2.0], [0.0, 5.0]]),
        torch.tensor([[2.0, 0.0], [0.0, 4.0]]),
    )


def hand_formula(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """J is right. The per-sample gradients are those of the example's loss,
    by formula: the loss that you are given was not differentiated.

    Its derivative is multiplied by a secret number, here {factor}. Call it
    and let autograd go through it.
    """
    gradients = 2 * (batch * w).sum(1, keepdim=True) * batch
    return torch.func.jacrev(f)(x), gradients


def finite_difference(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    w: Tensor,
    batch: Tensor,
) -> tuple[Tensor, Tensor]:
    """Your J comes from finite differences: each entry of x was moved by a
    small step, one after another.

    That takes a loop, it is never exact, and it does not go through the graph
    of f, where the judge multiplies derivatives by a secret number.
    """
    h = 1e-3
    y = f(x)
    columns = [(f(x + h * step) - y) / h for step in torch.eye(len(x)).to(x)]
    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, batch)
    return torch.stack(columns, dim=1), gradients


def calls_of_loss(w: Tensor, batch: Tensor) -> int:
    """vmap() does not loop: it calls the function once, with a tensor that
    looks like one sample and stands for all of them. So a print() in it is
    seen once, and an if on a value of it raises.
    """
    calls = []

    def loss(w: Tensor, sample: Tensor) -> Tensor:
        calls.append(sample.shape)
        return (w * sample).sum() ** 2

    torch.func.vmap(loss, in_dims=(None, 0))(w, batch)
    return len(calls)


def draw(rng: random.Random) -> dict[str, list[Any] | float]:
    def eighths(count: int) -> list[float]:
        return [rng.randrange(2, 17) / 8 for _ in range(count)]

    # m, n, k and b, such that no wrong shape fits by chance.
    m, n, k, b = rng.choice(
        ((4, 3, 2, 5), (3, 4, 2, 6), (5, 4, 3, 4), (4, 5, 3, 6))
    )
    return {
        "A": [eighths(n) for _ in range(m)],
        "x": eighths(n),
        "w": eighths(k),
        "k": float(k),
        "batch": [eighths(k) for _ in range(b)],
    }


def _secret(x: Tensor, factor: float) -> Tensor:
    """Return x, its derivative multiplied; Trial.secret takes three times as
    long under torch.func.
    """
    return factor * x + (1 - factor) * x.detach()


def observe(attempt: Attempt, trial: Trial) -> Values:
    """f and loss are spies: they count their calls, and f the passes."""
    calls_of_f = passes = calls_of_loss = 0
    matrix = trial.tensor("A")

    def count(gradient: Tensor) -> None:
        nonlocal passes
        passes += 1

    def f(x: Tensor) -> Tensor:
        nonlocal calls_of_f
        calls_of_f += 1
        x = _secret(x, trial.factor)
        if x.requires_grad:
            x.register_hook(count)
        return (matrix * x**2).sum(-1)  # in bfloat16 faster than @

    def loss(w: Tensor, sample: Tensor) -> Tensor:
        nonlocal calls_of_loss
        calls_of_loss += 1
        return (_secret(w, trial.factor) * sample).sum() ** 2

    x, w = (trial.tensor(name).requires_grad_() for name in ("x", "w"))
    batch = trial.tensor("batch")
    answer = attempt(f, x, loss, w, batch)
    if isinstance(answer, Tensor):
        found = describe(answer)
        raise AnswerError(
            f"It returned {found}. Expected J and the per-sample gradients."
        )
    return {
        **read_answer(answer, "J", "per sample", read=read_value),
        # A loop needs three or more; whoever looks at the shapes first, two.
        "a loop over f": max(calls_of_f, passes) > 2,
        "a loop over loss": calls_of_loss > 2,
    }


def expected(trial: Trial) -> Values:
    matrix: Any = trial.inputs["A"]
    x: Any = trial.inputs["x"]
    batch: Any = trial.inputs["batch"]
    return {
        "J": [
            [trial.factor * 2 * a * b for a, b in zip(row, x, strict=True)]
            for row in matrix
        ],
        "per sample": [
            [trial.factor * 2 * _dot(trial.inputs["w"], s) * a for a in s]
            for s in batch
        ],
        "a loop over f": False,
        "a loop over loss": False,
    }


def _dot(w: Any, sample: list[float]) -> float:
    return sum((a * b for a, b in zip(w, sample, strict=True)), start=0.0)


CHECK = Check(
    solution=jacobian_and_per_sample,
    first={
        "A": [[1.0, 2.0, 0.5], [0.5, 1.0, 1.0], [3.0, 0.25, 1.0], [1.0] * 3],
        "x": [2.0, 3.0, 1.0],
        "w": [1.0, 2.0],
        "k": 2.0,
        "batch": [[1.0, 0.5], [0.25, 1.0], [2.0, 1.0], [0.5, 1.5], [1.0] * 2],
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(row_by_row, hint=2),
        Mistake(sample_by_sample, hint=2),
        Mistake(two_loops, hint=1),
        Mistake(transposed, hint=2),
        Mistake(summed_outputs, hint=1),
        Mistake(whole_batch, hint=2),
        Mistake(summed_over_the_batch, hint=1),
        Mistake(averaged_over_the_batch, hint=1),
        Mistake(by_the_sample, hint=3),
        Mistake(w_is_mapped, hint=3),
        Mistake(literal, hint=1),
        Mistake(hand_formula, hint=2),
        Mistake(finite_difference, hint=2, within=0.1),
    ),
    predictions=(calls_of_loss,),
)
