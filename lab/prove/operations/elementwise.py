"""Elementwise functions of one tensor. The third column is the same function on mpmath numbers."""

from __future__ import annotations

import torch
from mpmath import mp

from lab.prove.operation import Operation, pointwise

S = torch.special

ELEMENTWISE: tuple[Operation, ...] = (
    pointwise("abs", torch.abs, mp.fabs, (0.1, 2.0)),
    pointwise("acos", torch.acos, mp.acos, (-0.9, 0.9)),
    pointwise("acosh", torch.acosh, mp.acosh, (1.2, 4.0)),
    pointwise("asin", torch.asin, mp.asin, (-0.9, 0.9)),
    pointwise("asinh", torch.asinh, mp.asinh, (-3.0, 3.0)),
    pointwise("atan", torch.atan, mp.atan, (-3.0, 3.0)),
    pointwise("atanh", torch.atanh, mp.atanh, (-0.9, 0.9)),
    pointwise("cos", torch.cos, mp.cos, (-6.0, 6.0)),
    pointwise("cosh", torch.cosh, mp.cosh, (-3.0, 3.0)),
    pointwise("digamma", torch.digamma, lambda x: mp.psi(0, x), (0.3, 6.0)),
    pointwise("entr", S.entr, lambda x: -x * mp.log(x), (0.1, 3.0)),
    pointwise("erf", torch.erf, mp.erf, (-2.0, 2.0)),
    pointwise("erfc", torch.erfc, mp.erfc, (-2.0, 2.0)),
    pointwise("erfcx", S.erfcx, lambda x: mp.exp(x * x) * mp.erfc(x), (-1.0, 3.0)),
    pointwise("erfinv", torch.erfinv, mp.erfinv, (-0.9, 0.9)),
    pointwise("exp", torch.exp, mp.exp, (-3.0, 3.0)),
    pointwise("exp2", torch.exp2, lambda x: mp.power(2, x), (-3.0, 3.0)),
    pointwise("expm1", torch.expm1, mp.expm1, (-3.0, 3.0)),
    pointwise("i0e", S.i0e, lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), (0.1, 4.0)),
    pointwise("i1", S.i1, lambda x: mp.besseli(1, x), (0.1, 3.0)),
    pointwise("lgamma", torch.lgamma, mp.loggamma, (0.3, 6.0)),
    pointwise("log", torch.log, mp.log, (0.1, 4.0)),
    pointwise("log10", torch.log10, mp.log10, (0.1, 4.0)),
    pointwise("log1p", torch.log1p, mp.log1p, (-0.9, 3.0)),
    pointwise("log2", torch.log2, lambda x: mp.log(x, 2), (0.1, 4.0)),
    pointwise("log_ndtr", S.log_ndtr, lambda x: mp.log(mp.ncdf(x)), (-3.0, 3.0)),
    pointwise("logit", torch.logit, lambda x: mp.log(x / (1 - x)), (0.1, 0.9)),
    pointwise("ndtr", S.ndtr, mp.ncdf, (-2.5, 2.5)),
    pointwise("ndtri", S.ndtri, lambda x: mp.sqrt(2) * mp.erfinv(2 * x - 1), (0.1, 0.9)),
    pointwise("neg", torch.neg, lambda x: -x, (-2.0, 2.0)),
    pointwise("reciprocal", torch.reciprocal, lambda x: 1 / x, (0.2, 3.0)),
    pointwise("rsqrt", torch.rsqrt, lambda x: 1 / mp.sqrt(x), (0.2, 4.0)),
    pointwise("sigmoid", torch.sigmoid, lambda x: 1 / (1 + mp.exp(-x)), (-4.0, 4.0)),
    pointwise("sin", torch.sin, mp.sin, (-6.0, 6.0)),
    pointwise("sinc", torch.sinc, mp.sincpi, (0.2, 3.0)),
    pointwise("sinh", torch.sinh, mp.sinh, (-3.0, 3.0)),
    pointwise("sqrt", torch.sqrt, mp.sqrt, (0.1, 4.0)),
    pointwise("square", torch.square, lambda x: x * x, (-2.0, 2.0)),
    pointwise("tan", torch.tan, mp.tan, (-1.2, 1.2)),
    pointwise("tanh", torch.tanh, mp.tanh, (-2.5, 2.5)),
)
