"""What a gradient should be, and how far from it arithmetic may end: measured, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lab.compare import FORMATS
from lab.prove.case import ROWS, Problem
from lab.prove.exact import exact_gradients
from lab.prove.gradient import backward
from lab.prove.numbers import Numbers, draw_numbers, evaluate, widen
from lab.prove.rounding import StochasticRounding

RUNS = 4  # of the stochastic program; more change nothing that was measured


@dataclass(frozen=True, eq=False)
class Reference:
    """The truth about one gradient, float64 on the CPU, all of the gradient's shape (...).

    value: r, the gradient. spread: S, the largest distance from r of the stochastic runs, infinite where some run
    disagrees about being finite. baseline: |b - r|, the error of b, the CPU in the working dtype.
    """

    value: Tensor
    spread: Tensor
    baseline: Tensor


def measure_reference(problem: Problem, *, with_baseline: bool = True, exact: bool = True) -> tuple[Reference, ...]:
    """Compute the references of a problem, one a differentiable input. Deterministic.

    with_baseline: run the CPU in the working dtype too; without, its error counts as none, as it must where the
    device under test is this CPU. exact: use mpmath where the row has a third column.
    """
    row, numbers = ROWS[problem.op], draw_numbers(problem)
    program = _program(problem, numbers)
    values = program()
    if exact and row.exact:
        values = exact_gradients(row.exact, numbers)
    form = FORMATS[numbers.cotangents[0].dtype]
    source = torch.Generator().manual_seed(problem.seed % 2**64)
    runs = []
    for _ in range(RUNS):
        with StochasticRounding(form, source):
            runs.append(program())
    baselines = _in_working_dtype(problem, numbers) if with_baseline else None
    return tuple(
        Reference(
            value,
            _spread(value, [run[i] for run in runs]),
            distance(baselines[i].to(torch.float64), value) if baselines else torch.zeros_like(value),
        )
        for i, value in enumerate(values)
    )


def _program(problem: Problem, numbers: Numbers) -> Callable[[], tuple[Tensor, ...]]:
    """Return the float64 program: forward and backward from fresh leaves."""
    return lambda: _differentiate(problem, tuple(map(widen, numbers.inputs)), tuple(map(widen, numbers.cotangents)))


def _in_working_dtype(problem: Problem, numbers: Numbers) -> tuple[Tensor, ...] | None:
    """Return the CPU's gradients in the working dtype, None where it has no such kernel."""
    try:
        return _differentiate(problem, numbers.inputs, numbers.cotangents)
    except (RuntimeError, NotImplementedError):
        return None


def _differentiate(problem: Problem, inputs: tuple[Tensor, ...], cotangents: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    row = ROWS[problem.op]
    fresh = tuple(x.detach().requires_grad_(given.differentiable) for given, x in zip(row.inputs, inputs, strict=True))
    outputs = evaluate(row, problem.sample, fresh)
    return tuple(backward(outputs, cotangents, [x for x in fresh if x.requires_grad]))


def _spread(value: Tensor, runs: list[Tensor]) -> Tensor:
    return torch.stack([distance(run, value) for run in runs]).amax(0)


def distance(got: Tensor, value: Tensor) -> Tensor:
    """Return |got - value|: 0 where both are the same infinity or both nan, infinite where only one is finite."""
    same = (got == value) | (got.isnan() & value.isnan())
    return torch.where(same, 0.0, (got - value).abs().nan_to_num(nan=torch.inf, posinf=torch.inf))
