"""A secret in a function that the judge hands over: its value is the same, its derivative is multiplied.

Written as torch.autograd.Function with setup_context, jvp and a generated vmap rule, so that it also works under
torch.func: https://docs.pytorch.org/docs/stable/notes/extending.func.html
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Multiplied(torch.autograd.Function):
    """y = x, but ∂y/∂x is the factor. Shapes (...)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        return cotangent * float(ctx.factor), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return tangent * float(ctx.factor)


def multiply_gradient(x: Tensor, factor: float) -> Tensor:
    """Return x, (...), whose cotangents and tangents are multiplied by the factor on their way through."""
    result: Tensor = _Multiplied.apply(x, factor)  # type: ignore[no-untyped-call]
    return result
