"""The gradient of an elementwise operation to 40 digits, by mpmath: float64 autograd is not always the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mpmath import mp
from torch import Tensor

from lab.prove.numbers import Numbers

DIGITS = 40


def exact_gradients(function: Callable[..., Any], numbers: Numbers) -> tuple[Tensor, ...]:
    """Return v · ∂f/∂xᵢ for each input xᵢ, correctly rounded to float64. inputs and v: one shape, (...)."""
    (cotangent,) = numbers.cotangents
    points = list(zip(*(x.to(torch.float64).flatten().tolist() for x in numbers.inputs), strict=True))
    weights = cotangent.to(torch.float64).flatten().tolist()
    count = len(numbers.inputs)
    with mp.workdps(DIGITS):
        rows = [
            [float(mp.mpf(v) * _partial(function, point, i, count)) for v, point in zip(weights, points, strict=True)]
            for i in range(count)
        ]
    return tuple(torch.tensor(row, dtype=torch.float64).reshape(cotangent.shape) for row in rows)


def _partial(function: Callable[..., Any], point: tuple[float, ...], i: int, count: int) -> Any:
    at = tuple(map(mp.mpf, point))
    return mp.diff(function, at, tuple(int(i == j) for j in range(count)))
