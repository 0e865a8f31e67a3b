"""Softmax, normalisation layers and attention."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lab.prove.operation import Operation, mask, tensor

_SCALE, _SHIFT = tensor("c", 0.5, 1.5), tensor("c")
_IMAGE = tensor("b c h w")


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, bias)


def _batch_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, weight, bias, training=True)


def _batch_norm_eval(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.batch_norm(x, torch.zeros_like(weight), torch.ones_like(weight), weight, bias)


def _masked_attention(q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
    keep = keep.clone()
    keep[..., 0] = True  # a row that may look nowhere has no answer
    return F.scaled_dot_product_attention(q, k, v, attn_mask=keep)


_ATTENTION = (tensor("b 2 t e"), tensor("b 2 t e"), tensor("b 2 t e"))
_LENGTHS = {"large": {"t": 68, "e": 64}}

NORMALISATION: tuple[Operation, ...] = (
    Operation("attention", F.scaled_dot_product_attention, _ATTENTION, reductions=("t", "e"), lengths=_LENGTHS,
              samples={"": {}, "causal": {"is_causal": True}}),
    Operation("attention_masked", _masked_attention, (*_ATTENTION, mask("b 1 t t")), reductions=("t", "e"),
              lengths=_LENGTHS),
    Operation("batch_norm", _batch_norm, (_IMAGE, _SCALE, _SHIFT), reductions=("b h w",)),
    Operation("batch_norm_eval", _batch_norm_eval, (_IMAGE, _SCALE, _SHIFT), reductions=("b h w",)),
    Operation("group_norm", lambda x, weight, bias: F.group_norm(x, 2, weight, bias), (_IMAGE, _SCALE, _SHIFT),
              reductions=("c h w", "b h w"), lengths={"odd": {"c": 6}}),
    Operation("instance_norm", lambda x, weight, bias: F.instance_norm(x, weight=weight, bias=bias),
              (_IMAGE, _SCALE, _SHIFT), reductions=("b h w",)),
    Operation("layer_norm", _layer_norm, (tensor("b t e"), tensor("e", 0.5, 1.5), tensor("e")),
              reductions=("e", "b t")),
    Operation("local_response_norm", lambda x: F.local_response_norm(x, 3), (_IMAGE,), reductions=("3",)),
    Operation("log_softmax", F.log_softmax, (tensor("n m"),), reductions=("m",), samples={"": {"dim": -1}}),
    Operation("normalize", F.normalize, (tensor("n m"),), reductions=("m",)),
    Operation("rms_norm", lambda x, weight: F.rms_norm(x, x.shape[-1:], weight),
              (tensor("b t e"), tensor("e", 0.5, 1.5)), reductions=("e", "b t")),
    Operation("softmax", F.softmax, (tensor("n m"),), reductions=("m", "n"),
              samples={"": {"dim": -1}, "first": {"dim": 0}}),
    Operation("softmin", F.softmin, (tensor("n m"),), reductions=("m",), samples={"": {"dim": -1}}),
)  # fmt: skip
