"""Indexing, gathering and moving: most are exact, so any difference is a wrong element."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lab.prove.operation import Operation, distinct, index, mask, order, tensor

_TABLE = {"large": {"v": 520, "b": 30, "t": 31, "e": 65}}

INDEXING: tuple[Operation, ...] = (
    Operation("cat", lambda x, y: torch.cat((x, y), 1), (tensor("n m"), tensor("n k"))),
    Operation("diagonal", lambda x: x.diagonal(), (tensor("n m"),)),
    Operation("embedding", F.embedding, (index("b t", "v"), tensor("v e")), reductions=("b t",), lengths=_TABLE,
              unordered=True),
    Operation("embedding_bag", F.embedding_bag, (index("b t", "v"), tensor("v e")), reductions=("b t",),
              samples={"": {"mode": "sum"}, "mean": {"mode": "mean"}}, lengths=_TABLE, unordered=True),
    Operation("flip", lambda x: x.flip(0, 1), (tensor("n m"),)),
    Operation("gather", lambda x, i: x.gather(1, i), (tensor("n m"), index("n k", "m")), reductions=("k",),
              unordered=True),
    Operation("index_add", lambda x, i, y: x.index_add(0, i, y), (tensor("n m"), index("k", "n"), tensor("k m")),
              unordered=True),
    Operation("index_copy", lambda x, i, y: x.index_copy(0, i, y), (tensor("n m"), order("q"), tensor("q m")),
              unordered=True),
    Operation("index_put", lambda x, i, y: x.index_put((i,), y, accumulate=True),
              (tensor("n m"), index("k", "n"), tensor("k m")), unordered=True),
    Operation("index_select", lambda x, i: x.index_select(0, i), (tensor("n m"), index("k", "n")), reductions=("k",),
              unordered=True),
    Operation("masked_fill", lambda x, keep: x.masked_fill(keep, 1.5), (tensor("n m"), mask("n m"))),
    Operation("masked_select", lambda x, keep: x.masked_select(keep), (tensor("n m"), mask("n m"))),
    Operation("repeat", lambda x: x.repeat(2, 3), (tensor("n m"),), reductions=("6",)),
    Operation("repeat_interleave", lambda x: x.repeat_interleave(3, 0), (tensor("n m"),), reductions=("3",),
              unordered=True),
    Operation("roll", lambda x: x.roll((1, 2), (0, 1)), (tensor("n m"),)),
    Operation("scatter", lambda x, i, y: x.scatter(1, i, y), (tensor("n m"), order("n q"), tensor("n q")),
              unordered=True),
    Operation("scatter_add", lambda x, i, y: x.scatter_add(1, i, y), (tensor("n m"), index("n k", "m"), tensor("n k")),
              reductions=("k",), unordered=True),
    Operation("sort", lambda x: x.sort(dim=1, stable=True).values, (distinct("n m"),)),
    Operation("stack", lambda x, y: torch.stack((x, y), 1), (tensor("n m"), tensor("n m"))),
    Operation("take_along_dim", lambda x, i: x.take_along_dim(i, 1), (tensor("n m"), order("n m")), unordered=True),
    Operation("tril", torch.tril, (tensor("n m"),)),
    Operation("unfold_dim", lambda x: x.unfold(1, 3, 1), (tensor("n m"),), reductions=("3",)),
)  # fmt: skip


def _dropped(x: Tensor) -> Tensor:
    return F.dropout(x, 0.4, training=True)


RANDOM: tuple[Operation, ...] = (
    Operation("dropout", _dropped, (tensor("n m"),), random=True, layouts=("contiguous", "permuted", "strided")),
)
