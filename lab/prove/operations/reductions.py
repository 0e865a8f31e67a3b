"""Reductions and scans."""

from __future__ import annotations

import torch

from lab.prove.operation import Operation, distinct, tensor

_EITHER = {"": {"dim": 1}, "first": {"dim": 0}}
_NOT_EXPANDED = ("contiguous", "permuted", "strided")  # equal numbers have no variance

REDUCTIONS: tuple[Operation, ...] = (
    Operation("amax", torch.amax, (distinct("n m"),), samples=_EITHER),
    Operation("cumprod", torch.cumprod, (tensor("n m", 0.8, 1.22),), reductions=("m",), samples={"": {"dim": 1}}),
    Operation("cumsum", torch.cumsum, (tensor("n m"),), reductions=("m", "n"), samples=_EITHER, unordered=True),
    Operation("logcumsumexp", torch.logcumsumexp, (tensor("n m"),), reductions=("m",), samples={"": {"dim": 1}}),
    Operation("logsumexp", torch.logsumexp, (tensor("n m"),), reductions=("m", "n"), samples=_EITHER),
    Operation("max", lambda x: x.max(dim=1).values, (distinct("n m"),)),
    Operation("mean", torch.mean, (tensor("n m"),), reductions=("m", "n"), samples=_EITHER),
    Operation("median", lambda x: x.median(dim=1).values, (distinct("n m"),), unordered=True),
    Operation("norm", torch.norm, (tensor("n m"),), reductions=("n m",)),
    Operation("prod", torch.prod, (tensor("n m", 0.8, 1.22),), reductions=("m",), samples={"": {"dim": 1}}),
    Operation("std", torch.std, (tensor("n m"),), reductions=("m", "n"), samples=_EITHER,
              layouts=_NOT_EXPANDED),
    Operation("sum", torch.sum, (tensor("n m"),), reductions=("m", "n"), samples=_EITHER),
    Operation("var", torch.var, (tensor("n m"),), reductions=("m", "n"), samples=_EITHER,
              layouts=_NOT_EXPANDED),
    Operation("vector_norm", torch.linalg.vector_norm, (tensor("n m"),), reductions=("m",),
              samples={"": {"dim": 1}, "third": {"dim": 1, "ord": 3}}),
)  # fmt: skip
