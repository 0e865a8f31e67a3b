"""Simulated devices: what a faulty one would compute, on the CPU, so that the prover can be proven without a GPU.

Each is a dispatch mode that spoils what one kind of kernel returns, in forward and backward alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from lab.prove.backend import Backend

Call = Callable[..., Any]
Spoil = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]

PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "convolution", "convolution_backward", "linear",
            "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward",
            "mkldnn_rnn_layer", "mkldnn_rnn_layer_backward", "_trilinear")  # fmt: skip
SUMS = (
    "sum",
    "mean",
    "_softmax_backward_data",
    "_log_softmax_backward_data",
    "native_layer_norm",
    "native_layer_norm_backward",
    "native_group_norm_backward",
    "native_batch_norm_backward",
    "logsumexp",
    "cumsum",
)
OVERFLOW = 32768  # elements that the simulated index can count


class Faulty(TorchDispatchMode):
    """A device whose kernels of some names are spoilt. kernels: without ``aten::``; None for all that compute."""

    def __init__(self, kernels: Iterable[str] | None, spoil: Spoil) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kernels, self._spoil = None if kernels is None else frozenset(kernels), spoil

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run an aten operation, spoilt where it is one of those."""
        if func.is_view or not self._is_meant(kernel_name(func)):
            return func(*args, **(kwargs or {}))
        return self._spoil(func, args, kwargs or {})

    def _is_meant(self, name: str) -> bool:
        if self._kernels is None:
            return not name.startswith(("empty", "new_", "zeros", "ones", "detach", "set_", "resize", "as_strided"))
        return name in self._kernels


def kernel_name(func: Any) -> str:
    """Return ``mul`` for ``aten.mul.Tensor``."""
    return str(func._schema.name.partition("::")[2])


def round_to(x: Any, bits: int) -> Any:
    """Round a float32 tensor to so many mantissa bits, to nearest and ties to even; leave anything else."""
    if not isinstance(x, Tensor) or x.dtype is not torch.float32:
        return x
    drop = 23 - bits
    pattern = x.contiguous().view(torch.int32)
    odd = pattern.bitwise_right_shift(drop).bitwise_and(1)
    kept = (pattern + ((1 << (drop - 1)) - 1) + odd).bitwise_right_shift(drop).bitwise_left_shift(drop)
    return torch.where(x.isfinite(), kept.view(torch.float32), x)


def on_results(change: Callable[[Tensor], Tensor]) -> Spoil:
    """Return a spoiler that changes every floating point result, in place where the kernel writes in place."""

    def spoil(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        in_place = func._schema.is_mutable

        def changed(x: Any) -> Any:
            if not isinstance(x, Tensor) or not x.is_floating_point() or not x.numel():
                return x
            return x.copy_(change(x)) if in_place else change(x)

        return tree_map(changed, result)

    return spoil


def _rounded_inputs(bits: int) -> Spoil:
    def spoil(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return func(*tree_map(lambda x: round_to(x, bits), args), **kwargs)

    return spoil


def wrong_by(relative: float) -> Spoil:
    """Return a spoiler that multiplies what it returns by 1 + relative."""
    return on_results(lambda x: x * (1 + relative))


def _last_dropped(x: Tensor) -> Tensor:
    spoilt = x.clone(memory_format=torch.contiguous_format)
    spoilt.view(-1)[-1] = 0
    return spoilt


def _with_nan(x: Tensor) -> Tensor:
    spoilt = x.clone(memory_format=torch.contiguous_format)
    spoilt.view(-1)[x.numel() // 2] = torch.nan
    return spoilt


def _flushed(x: Tensor) -> Tensor:
    return torch.where(x.abs() < torch.finfo(x.dtype).tiny, torch.zeros_like(x), x)


def _overflown(x: Tensor) -> Tensor:
    """Return what a kernel writes whose index starts again at 0: what lies beyond is never written."""
    if x.numel() <= OVERFLOW:
        return x
    spoilt = x.clone(memory_format=torch.contiguous_format)
    spoilt.view(-1)[OVERFLOW:] = 0
    return spoilt


def stride_blind(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a kernel that reads memory in order, whatever the strides of its inputs say."""
    return func(*(args if func._schema.is_mutable else tree_map(_in_memory_order, args)), **kwargs)


def _in_memory_order(x: Any) -> Any:
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.is_contiguous() or not x.numel():
        return x
    room = x.untyped_storage().nbytes() // x.element_size() - x.storage_offset()
    memory = torch.as_strided(x, (room,), (1,), x.storage_offset())
    return memory.repeat(-(-x.numel() // room))[: x.numel()].reshape(x.shape)


class Stale(Faulty):
    """A device one of whose kernels adds to what it left in memory the last time, where the shape is the same."""

    def __init__(self, kernels: Iterable[str] | None) -> None:
        super().__init__(kernels, self._add)
        self._left: dict[Any, Any] = {}

    def _add(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        key = (func, tuple(result.shape), result.dtype)
        total = result + self._left[key] if key in self._left else result
        self._left[key] = result.clone()
        return total


class Flaky(Faulty):
    """A device that now and then flips the last bit of one number that a kernel returns, each use another one."""

    _uses = count()

    def __init__(self, kernels: Iterable[str] | None, *, one_in: int = 3) -> None:
        super().__init__(kernels, on_results(self._flip))
        self._source, self._one_in = torch.Generator().manual_seed(next(self._uses)), one_in

    def _flip(self, x: Tensor) -> Tensor:
        if int(torch.randint(self._one_in, (), generator=self._source)) or x.element_size() not in _INTEGERS:
            return x
        spoilt = x.clone(memory_format=torch.contiguous_format)
        place = int(torch.randint(x.numel(), (), generator=self._source))
        spoilt.view(-1).view(_INTEGERS[x.element_size()])[place] ^= 1
        return spoilt


_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class MaskDropped(TorchDispatchMode):
    """A device that forgets the dropout mask in the backward: pytorch #190056."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._masks: set[int] = set()
        self._kept: list[Tensor] = []  # so that no other tensor gets the memory of one of them

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Remember the masks; leave out their product with a gradient."""
        result = func(*args, **(kwargs or {}))
        name = kernel_name(func)
        if name in ("bernoulli_", "div_") and (name == "bernoulli_" or args[0].data_ptr() in self._masks):
            self._masks.add(result.data_ptr())
            self._kept.append(result)
        if name == "copy_" and _is_mask(args[0]):
            self._masks.add(args[0].data_ptr())
            self._kept.append(args[0])
        if name == "mul" and _in_backward():
            for gradient, mask in (args, args[::-1]):
                if isinstance(mask, Tensor) and mask.data_ptr() in self._masks:
                    return gradient.clone()
        return result


def _is_mask(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all()) and x.is_floating_point() and x.numel() > 1


def _in_backward() -> bool:
    return int(torch._C._current_graph_task_id()) >= 0


class Reordered(TorchDispatchMode):
    """A healthy device that adds and multiplies in another order."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Turn the reduced dimensions of sums and products round."""
        kwargs = kwargs or {}
        match kernel_name(func):
            case "mm" | "bmm" if not func._schema.is_mutable:
                return func(args[0].flip(-1), args[1].flip(-2))
            case "addmm" | "baddbmm" if not func._schema.is_mutable:
                return func(args[0], args[1].flip(-1), args[2].flip(-2), *args[3:], **kwargs)
            case "sum" if args[0].ndim:
                return func(args[0].flip(*range(args[0].ndim)), *args[1:], **kwargs) if _reduces_all(args) else (
                    _sum_turned(func, args, kwargs)
                )  # fmt: skip
        return func(*args, **kwargs)


def _reduces_all(args: tuple[Any, ...]) -> bool:
    return len(args) < 2 or not args[1]


def _sum_turned(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(args[0].flip(*args[1]), *args[1:], **kwargs)


def _simulated(name: str, about: str, cause: str, context: Callable[[], Any]) -> Backend:
    return Backend(name, about, context=context, simulated=True, healthy=not cause, cause=cause)


FAULTS = {
    row.name: row
    for row in (
        _simulated("tf32", "products round their inputs to 10 mantissa bits", "product-precision",
                   lambda: Faulty(PRODUCTS, _rounded_inputs(10))),
        _simulated("bf16-product", "products round their inputs to 7 mantissa bits", "product-precision",
                   lambda: Faulty(PRODUCTS, _rounded_inputs(7))),
        _simulated("bf16-accumulation", "sums and products are added up in 7 mantissa bits", "accumulation",
                   lambda: Faulty((*PRODUCTS, *SUMS), on_results(lambda x: round_to(x, 7)))),
        _simulated("wrong-1e-4", "mul is too large by 1e-4", "kernel", lambda: Faulty(["mul"], wrong_by(1e-4))),
        _simulated("wrong-1e-5", "mul is too large by 1e-5", "kernel", lambda: Faulty(["mul"], wrong_by(1e-5))),
        _simulated("tail", "sums and products never write their last element", "tail",
                   lambda: Faulty((*PRODUCTS, *SUMS), on_results(_last_dropped))),
        _simulated("nan", "mul writes a nan", "non-finite", lambda: Faulty(["mul"], on_results(_with_nan))),
        _simulated("flush", "subnormal results become zero", "subnormals", lambda: Faulty(None, on_results(_flushed))),
        _simulated("stride-blind", "mul reads its inputs in the order of memory", "strides",
                   lambda: Faulty(["mul"], stride_blind)),
        _simulated("stale", "mul adds to what it left in memory the last time", "history", lambda: Stale(["mul"])),
        _simulated("mask-dropped", "the backward forgets the dropout mask", "mask", MaskDropped),
        _simulated("overflow", f"mul never writes beyond {OVERFLOW:,} elements", "size",
                   lambda: Faulty(["mul"], on_results(_overflown))),
        _simulated("flaky", "mul now and then flips a last bit", "flaky", lambda: Flaky(["mul"])),
        _simulated("reordered", "sums and products in another order, which is healthy", "", Reordered),
    )
}  # fmt: skip


def one_kernel(name: str, spoil: Spoil) -> Backend:
    """Return a simulated device that has one faulty kernel."""
    return replace(FAULTS["wrong-1e-4"], name=f"faulty-{name}", context=lambda: Faulty([name], spoil))
