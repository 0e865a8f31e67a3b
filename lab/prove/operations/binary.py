"""Elementwise functions of several tensors."""

from __future__ import annotations

import torch
from mpmath import mp

from lab.prove.operation import Operation, mask, pointwise, tensor

ANY, POSITIVE = (-2.0, 2.0), (0.3, 2.0)

BINARY: tuple[Operation, ...] = (
    pointwise("add", torch.add, lambda x, y: x + y, ANY, ANY),
    Operation("add_broadcast", torch.add, (tensor("b t e"), tensor("e")), reductions=("b t",)),
    pointwise("addcdiv", torch.addcdiv, lambda x, y, z: x + y / z, ANY, ANY, POSITIVE),
    pointwise("addcmul", torch.addcmul, lambda x, y, z: x + y * z, ANY, ANY, ANY),
    pointwise("atan2", torch.atan2, mp.atan2, ANY, POSITIVE),
    pointwise("clamp", lambda x: x.clamp(-1.0, 1.0), None, ANY),
    pointwise("copysign", torch.copysign, None, POSITIVE, ANY),
    pointwise("div", torch.div, lambda x, y: x / y, ANY, POSITIVE),
    pointwise("fmax", torch.fmax, None, ANY, ANY),
    pointwise("hypot", torch.hypot, mp.hypot, ANY, POSITIVE),
    pointwise("lerp", torch.lerp, lambda x, y, w: x + w * (y - x), ANY, ANY, (0.1, 0.9)),
    pointwise("logaddexp", torch.logaddexp, lambda x, y: mp.log(mp.exp(x) + mp.exp(y)), ANY, ANY),
    pointwise("maximum", torch.maximum, None, ANY, ANY),
    pointwise("minimum", torch.minimum, None, ANY, ANY),
    pointwise("mul", torch.mul, lambda x, y: x * y, ANY, ANY),
    Operation("mul_broadcast", torch.mul, (tensor("b t e"), tensor("t 1")), reductions=("b e",)),
    pointwise("pow", torch.pow, mp.power, POSITIVE, ANY),
    pointwise("pow_cube", lambda x: x.pow(3), lambda x: x**3, ANY),
    pointwise("sub", torch.sub, lambda x, y: x - y, ANY, ANY),
    Operation("where", torch.where, (mask("n m"), tensor("n m"), tensor("n m"))),
    pointwise("xlogy", torch.xlogy, lambda x, y: x * mp.log(y), ANY, POSITIVE),
)
