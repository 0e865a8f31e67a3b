"""PyTorch's own database of operations as rows: private to torch, and named in no other module of the lab.

An entry of the database gives sample inputs, some of an operation's many signatures; each becomes a row ``deep:name#n``
whose tensors are drawn in float64 and rounded to the working dtype. Needs the extra ``deep`` (expecttest).
There is no golden file for them: the CPU in the working dtype is a witness of what the formula loses, also where it is
itself what is verified. There, other layouts are compared with the order of memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from lab.errors import UsageError
from lab.prove.operation import Input, Operation

PREFIX = "deep:"
SAMPLES = 12  # of an operation, the first ones
# Each call draws other numbers, or its result is memory that nobody wrote, or its gradient is no strided tensor.
_LEFT_OUT = (
    *("bernoulli", "dropout", "empty", "fractional", "gumbel", "lowrank", "multinomial", "normal", "rand", "rrelu"),
    *("to_sparse", "uniform"),
)
# Operations about memory itself: another layout is another question, or none.
_ABOUT_MEMORY = ("as_strided", "native_group_norm", "view")
_LAYOUTS = ("contiguous", "permuted", "strided")


@cache
def deep_rows() -> dict[str, Operation]:
    """Return a row for each sample of each differentiable operation. Raises: UsageError without the extra."""
    try:
        from torch.testing._internal.common_methods_invocations import op_db
    except ImportError as missing:
        raise UsageError(
            f"PyTorch's database of operations could not be loaded: {missing}.",
            "Expected the packages of the extra 'deep'.",
            "Type 'make setup', or 'pip install gradient-lab[deep]'.",
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated names are in the database too
        rows = (row for entry in op_db if _is_meant(entry) for row in _rows(entry))
        return {row.name: row for row in rows}


def _is_meant(entry: Any) -> bool:
    named = f"{entry.name} {entry.variant_test_name}"
    return (
        entry.supports_autograd
        and torch.float64 in entry.dtypes
        and not any(word in named for word in _LEFT_OUT)
    )  # fmt: skip


def _rows(entry: Any) -> Iterator[Operation]:
    """Yield the rows of an entry; none for a sample whose gradient cannot be taken in float64 on the CPU."""
    name = f"{PREFIX}{entry.name}" + (f".{entry.variant_test_name}" if entry.variant_test_name else "")
    for number, sample in enumerate(_samples(entry)):
        leaves, structure = tree_flatten((sample.input, sample.args, sample.kwargs))
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        if any(x.is_complex() or x.layout is not torch.strided for x in tensors):
            continue
        row = Operation(
            f"{name}#{number}",
            partial(_call, entry.op, leaves, structure, sample.output_process_fn_grad),
            tuple(Input("", differentiable=x.requires_grad) for x in tensors),
            given=tuple(x.detach() for x in tensors),
            layouts=_LAYOUTS[:1] if entry.name.startswith(_ABOUT_MEMORY) else _LAYOUTS,
            unordered=True,  # the database does not say
        )
        if _is_differentiable(row):
            yield row


def _samples(entry: Any) -> list[Any]:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        try:
            samples = entry.sample_inputs("cpu", torch.float64, requires_grad=True)
            return [sample for sample, _ in zip(samples, range(SAMPLES), strict=False)]
        except Exception:  # some entries want what this machine lacks
            return []


def _call(
    op: Callable[..., Any], leaves: list[Any], structure: TreeSpec, finish: Callable[[Any], Any], *tensors: Tensor
) -> tuple[Tensor, ...]:
    """Call an operation with other tensors in the place of its sample's; return the outputs that have gradients."""
    given = iter(tensors)
    device = tensors[0].device if tensors else torch.device("cpu")
    filled = [next(given) if isinstance(x, Tensor) else _there(x, device) for x in leaves]
    first, args, kwargs = tree_unflatten(filled, structure)
    outputs = tree_flatten(finish(op(first, *args, **kwargs)))[0]
    real = [torch.view_as_real(y) if isinstance(y, Tensor) and y.is_complex() else y for y in outputs]
    strided = (y for y in real if isinstance(y, Tensor) and y.layout is torch.strided)
    return tuple(y for y in strided if y.is_floating_point())


def _there(x: Any, device: torch.device) -> Any:
    return device if isinstance(x, torch.device) else x


def _is_differentiable(row: Operation) -> bool:
    assert row.given is not None
    pairs = zip(row.inputs, row.given, strict=True)
    try:
        leaves = [x.clone().requires_grad_(given.differentiable) for given, x in pairs]
        outputs = row.function(*leaves)
        return bool(outputs) and any(y.requires_grad and y.numel() for y in outputs)
    except Exception:  # samples that are meant to raise
        return False
