"""Random masks drawn once, on the CPU: a device's own generator would give every device another gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_SEED = 5


class DrawnOnce(TorchDispatchMode):
    """Every Bernoulli mask that is asked for comes from one generator on the CPU, in float32, then moves.

    So dropout keeps the same elements on every device and in every dtype. It covers what dropout is made of:
    ``bernoulli_`` in place, and the fused ``native_dropout``.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._source = torch.Generator().manual_seed(_SEED)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Answer for the two random operations; let every other through."""
        if func is torch.ops.aten.bernoulli_.float:
            return args[0].copy_(self._keep(args[0], *args[1:]))
        if func is torch.ops.aten.native_dropout.default:
            x, drop, train = args
            keep = self._keep(x, 1 - drop if train else 1.0)
            return x * keep.to(x.dtype) / (1 - drop), keep.to(torch.bool)
        return func(*args, **(kwargs or {}))

    def _keep(self, like: Tensor, probability: float = 0.5) -> Tensor:  # the default is not passed on
        drawn = torch.rand(like.shape, generator=self._source, dtype=torch.float32, device="cpu")
        return (drawn < probability).to(like.device)
