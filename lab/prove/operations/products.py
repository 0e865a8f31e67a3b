"""Matrix products and what is made of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lab.prove.operation import Operation, tensor

_ALL = ("k", "n", "m")
_BATCHED = {"large": {"n": 45, "m": 43, "k": 190}}

PRODUCTS: tuple[Operation, ...] = (
    Operation("addmm", torch.addmm, (tensor("n m"), tensor("n k"), tensor("k m")), reductions=_ALL),
    Operation("baddbmm", torch.baddbmm, (tensor("b n m"), tensor("b n k"), tensor("b k m")), reductions=_ALL,
              lengths=_BATCHED),
    Operation("bilinear", F.bilinear, (tensor("b n"), tensor("b m"), tensor("d n m"), tensor("d")),
              reductions=("n m", "b"), lengths={"large": {"n": 75, "m": 73}}),
    Operation("bmm", torch.bmm, (tensor("b n k"), tensor("b k m")), reductions=_ALL, lengths=_BATCHED),
    Operation("cdist", torch.cdist, (tensor("n k"), tensor("m k", 2.5, 4.0)), reductions=_ALL),
    Operation("dot", torch.dot, (tensor("n"), tensor("n")), reductions=("n",), lengths={"large": {"n": 33000}}),
    Operation("einsum", lambda x, y: torch.einsum("bik,kj->bij", x, y), (tensor("b n k"), tensor("k m")),
              reductions=("k", "m", "b n"), lengths=_BATCHED),
    Operation("linear", F.linear, (tensor("n k"), tensor("m k"), tensor("m")), reductions=_ALL),
    Operation("matmul", torch.matmul, (tensor("b n k"), tensor("k m")), reductions=("k", "m", "b n"),
              lengths=_BATCHED),
    Operation("mm", torch.mm, (tensor("n k"), tensor("k m")), reductions=_ALL),
    Operation("mv", torch.mv, (tensor("n k"), tensor("k")), reductions=("k", "n")),
    Operation("outer", torch.outer, (tensor("n"), tensor("m")), reductions=("n", "m")),
)  # fmt: skip
