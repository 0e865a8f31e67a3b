"""Losses: most give one number, so their cotangent is a scalar."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lab.prove.operation import Operation, constant, index, tensor

_PAIR = (tensor("n m"), tensor("n m"))
_MEAN = {"": {}, "sum": {"reduction": "sum"}, "none": {"reduction": "none"}}


def _kl_div(x: Tensor, target: Tensor) -> Tensor:
    return F.kl_div(x.log_softmax(1), target.softmax(1), reduction="batchmean")


def _ctc(x: Tensor, targets: Tensor) -> Tensor:
    time, batch, _ = x.shape
    lengths = torch.full((batch,), time, dtype=torch.long), torch.full((batch,), targets.shape[1], dtype=torch.long)
    return F.ctc_loss(x.log_softmax(2), 1 + targets, *lengths)


def _soft_cross_entropy(x: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(x, target.softmax(1), label_smoothing=0.1)


LOSSES: tuple[Operation, ...] = (
    Operation("bce", lambda p, t: F.binary_cross_entropy(p, t), (tensor("n m", 0.1, 0.9), constant("n m", 0.1, 0.9)),
              reductions=("n m",)),
    Operation("bce_with_logits", F.binary_cross_entropy_with_logits, (tensor("n m"), constant("n m", 0.0, 1.0)),
              reductions=("n m",), samples=_MEAN),
    Operation("cosine_similarity", F.cosine_similarity, _PAIR, reductions=("m",)),
    Operation("cross_entropy", F.cross_entropy, (tensor("n v"), index("n", "v")), reductions=("n v",),
              samples=_MEAN, lengths={"large": {"n": 660}}, unordered=True),
    Operation("cross_entropy_soft", _soft_cross_entropy, (tensor("n v"), tensor("n v")), reductions=("n v",),
              lengths={"large": {"n": 660}}),
    Operation("ctc_loss", _ctc, (tensor("t b v"), index("b 2", "d")), reductions=("t v",),
              lengths={"large": {"t": 165}}, unordered=True),
    Operation("gaussian_nll", F.gaussian_nll_loss, (tensor("n m"), tensor("n m"), tensor("n m", 0.3, 2.0)),
              reductions=("n m",)),
    Operation("huber", F.huber_loss, _PAIR, reductions=("n m",), samples=_MEAN),
    Operation("kl_div", _kl_div, _PAIR, reductions=("n m",)),
    Operation("l1", F.l1_loss, _PAIR, reductions=("n m",), samples=_MEAN),
    Operation("mse", F.mse_loss, _PAIR, reductions=("n m",), samples=_MEAN),
    Operation("nll", lambda x, t: F.nll_loss(x.log_softmax(1), t), (tensor("n v"), index("n", "v")),
              reductions=("n v",), lengths={"large": {"n": 660}}, unordered=True),
    Operation("poisson_nll", F.poisson_nll_loss, (tensor("n m"), constant("n m", 0.0, 3.0)), reductions=("n m",)),
    Operation("smooth_l1", F.smooth_l1_loss, _PAIR, reductions=("n m",), samples=_MEAN),
    Operation("soft_margin", lambda x, y: F.soft_margin_loss(x, y.sign()), (tensor("n m"), constant("n m")),
              reductions=("n m",)),
    Operation("triplet_margin", F.triplet_margin_loss, (tensor("n m"), tensor("n m"), tensor("n m")),
              reductions=("n m",)),
)  # fmt: skip
