"""Activation functions. Those with a kink have no third column: float64 is exact beside it."""

from __future__ import annotations

import torch.nn.functional as F
from mpmath import mp

from lab.prove.operation import Operation, pointwise, tensor

WIDE = (-3.0, 3.0)


def _elu(x: object, scale: object = 1, alpha: object = 1) -> object:
    return scale * (x if x > 0 else alpha * mp.expm1(x))  # type: ignore[operator]


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

ACTIVATIONS: tuple[Operation, ...] = (
    pointwise("celu", F.celu, _elu, WIDE),
    pointwise("elu", F.elu, _elu, WIDE),
    pointwise("gelu", F.gelu, lambda x: x * mp.ncdf(x), WIDE),
    pointwise(
        "gelu_tanh",
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf(0.044715) * x**3))),
        WIDE,
    ),
    Operation("glu", F.glu, (tensor("n 2m"),)),
    pointwise("hardsigmoid", F.hardsigmoid, None, (-2.9, 2.9)),
    pointwise("hardswish", F.hardswish, None, (-4.0, 4.0)),
    pointwise("hardtanh", F.hardtanh, None, (-2.0, 2.0)),
    pointwise("leaky_relu", F.leaky_relu, None, WIDE),
    pointwise("logsigmoid", F.logsigmoid, lambda x: -mp.log1p(mp.exp(-x)), WIDE),
    pointwise("mish", F.mish, lambda x: x * mp.tanh(mp.log1p(mp.exp(x))), WIDE),
    Operation("prelu", F.prelu, (tensor("b c h w"), tensor("c", 0.1, 0.5)), reductions=("b h w",)),
    pointwise("relu", F.relu, None, WIDE),
    pointwise("selu", F.selu, lambda x: _elu(x, mp.mpf(_SELU_SCALE), mp.mpf(_SELU_ALPHA)), WIDE),
    pointwise("silu", F.silu, lambda x: x / (1 + mp.exp(-x)), WIDE),
    pointwise("softplus", F.softplus, lambda x: mp.log1p(mp.exp(x)), WIDE),
    pointwise("softsign", F.softsign, lambda x: x / (1 + abs(x)), (0.1, 3.0)),
    pointwise("tanhshrink", F.tanhshrink, lambda x: x - mp.tanh(x), (0.3, 3.0)),
)
