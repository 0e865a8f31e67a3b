"""The real other backends of a CPU: each has to pass, or what fails is a defect to write up."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lab.prove.backend import PLAIN, Backend, Function


class Decomposed(TorchDispatchMode):
    """Every aten operation, also in the backward, as the simpler ones that PyTorch's own decompositions make of it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run a decomposition where there is one; what it calls is decomposed too."""
        kwargs = kwargs or {}
        found = _decompositions().get(func)
        if found is None:
            return func(*args, **kwargs)
        with self:
            result = found(*args, **kwargs)
        return func(*args, **kwargs) if result is NotImplemented else result


@cache
def _decompositions() -> dict[Any, Any]:
    """Return the decompositions, forward and backward. Private to torch, and named nowhere else in the lab."""
    from torch._decomp import core_aten_decompositions

    table = dict(core_aten_decompositions())
    return {func: found for func, found in table.items() if _has_its_backward(func, table)}


def _has_its_backward(func: Any, table: dict[Any, Any]) -> bool:
    """Say whether the backward that belongs to an operation is decomposed too, where it has one.

    What a decomposed forward saves need not be what the kernel of the backward reads: that of CPU flash attention
    returns its weights where the kernel wants a logsumexp.
    """
    name = f"{func._schema.name.partition('::')[2]}_backward"
    return not hasattr(torch.ops.aten, name) or any(
        getattr(torch.ops.aten, name) == getattr(other, "overloadpacket", None) for other in table
    )


def _without_onednn() -> AbstractContextManager[Any]:
    return torch.backends.mkldnn.flags(enabled=False)


def _compiled(function: Function) -> Function:
    compiled: Function = torch.compile(function, dynamic=False)
    return compiled


BACKENDS = {
    row.name: row
    for row in (
        PLAIN,
        Backend("threads", "two threads", threads=2),
        Backend("capability", "no vector instructions", {"ATEN_CPU_CAPABILITY": "default"}),
        Backend("capability-avx2", "vectors of 256 bits", {"ATEN_CPU_CAPABILITY": "avx2"}),
        Backend("mkldnn-off", "torch's own kernels in place of oneDNN's", context=_without_onednn),
        Backend("decompositions", "PyTorch's decompositions, forward and backward", context=Decomposed),
        Backend("compile", "torch.compile, forward and backward", wrap=_compiled),
    )
}
