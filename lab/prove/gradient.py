"""One case on one device: its tensors laid out in memory, forward, backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lab.prove.case import ROWS, Case, masked
from lab.prove.numbers import Numbers, evaluate
from lab.prove.operation import Operation

JUNK = 7.0  # stands in memory between the elements of a strided tensor: read, it shows


@dataclass(frozen=True, eq=False)
class Placed:
    """The tensors of a case on a device. leaves: those whose gradient is asked for, with their input's number."""

    inputs: tuple[Tensor, ...]
    cotangents: tuple[Tensor, ...]
    leaves: tuple[tuple[int, Tensor], ...]


def place_case(case: Case, numbers: Numbers, device: torch.device) -> Placed:
    """Lay out the numbers of a case's problem on a device."""
    row = ROWS[case.op]
    wanted = iter(masked(case.mask, sum(given.differentiable for given in row.inputs)))
    inputs, leaves = [], []
    for number, (given, x) in enumerate(zip(row.inputs, numbers.inputs, strict=True)):
        if not given.differentiable:
            inputs.append(x.to(device))
            continue
        leaf = lay_out(x.to(device), case.layout).detach()
        if next(wanted):
            leaves.append((number, leaf.requires_grad_()))
        inputs.append(leaf)
    cotangents = tuple(lay_out(y.to(device), _COTANGENT_LAYOUT[case.cotangent]) for y in numbers.cotangents)
    return Placed(tuple(inputs), cotangents, tuple(leaves))


def differentiate(row: Operation, case: Case, placed: Placed) -> list[Tensor]:
    """Run forward and backward; return the gradient of each leaf. A leaf that is not used has gradient 0."""
    outputs = evaluate(row, case.sample, placed.inputs)
    return backward(outputs, placed.cotangents, [leaf for _, leaf in placed.leaves])


def backward(outputs: Sequence[Tensor], cotangents: Sequence[Tensor], leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return vᵀJ for each leaf. cotangents v: one an output, in its shape."""
    pairs = [(y, v) for y, v in zip(outputs, cotangents, strict=True) if y.requires_grad]
    tracked, weights = zip(*pairs, strict=True)
    return list(torch.autograd.grad(tracked, leaves, weights, allow_unused=True, materialize_grads=True))


def lay_out(x: Tensor, layout: str) -> Tensor:
    """Return the same numbers in another order of memory. x: (...), contiguous."""
    match layout:
        case "permuted" if x.ndim > 1:
            reverse: Any = tuple(reversed(range(x.ndim)))
            return x.permute(reverse).contiguous().permute(reverse)
        case "permuted" | "strided" if x.ndim:
            wide = torch.full((*x.shape[:-1], 2 * x.shape[-1]), JUNK, dtype=x.dtype, device=x.device)
            return wide[..., ::2].copy_(x)
        case "expanded" if x.ndim:
            return x[:1].expand(x.shape)
        case "broadcast":
            return x.flatten()[:1].reshape(()).expand(x.shape)
    return x


_COTANGENT_LAYOUT = {"dense": "contiguous", "transposed": "permuted", "stride-0": "broadcast"}
