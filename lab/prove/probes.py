"""Small exact questions to a device: how many bits survive a product, what an accumulator holds, what is flushed.

Each answer is an integer that an honest device gives exactly, so no tolerance is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from lab.compare import FORMATS
from lab.device import device_row
from lab.prove.rule import Verdict
from lab.prove.verify import Target, quiet, verdict_of

SIZE = 64  # of the square matrices: what tensor cores take
Product = Callable[[Tensor, Tensor], Tensor]
Answer = Callable[[], Tensor]


@dataclass(frozen=True)
class Probe:
    """One answer. kind: product, accumulator, subnormals or rounding. measured and expected: see ``unit``."""

    kind: str
    name: str
    dtype: str
    measured: int
    expected: int
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the device gave what an honest one gives."""
        return self.measured >= self.expected

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "passed": self.passed}


# Each takes two square matrices to their product.
PRODUCTS: dict[str, Product] = {
    "mm": torch.mm,
    "bmm": lambda x, w: torch.bmm(x[None], w[None])[0],
    "addmm": lambda x, w: torch.addmm(x.new_zeros(w.shape[1]), x, w),
    "linear": lambda x, w: F.linear(x, w.mT),
    "conv1d": lambda x, w: F.conv1d(x.mT[None], w.mT[:, :, None])[0].mT,
    "conv2d": lambda x, w: F.conv2d(x.mT[None, :, :, None], w.mT[:, :, None, None])[0, :, :, 0].mT,
}


def run_probes(target: Target, dtypes: tuple[str, ...] = ("float32",)) -> list[Probe]:
    """Ask a device everything. dtypes: of the products; the other questions are asked in float32.

    What it says it cannot do is left out. Raises: what a kernel raises that fails.
    """
    offered = [dtype for dtype in dtypes if dtype in device_row(target.torch_device).dtypes]
    with quiet(), target.backend.context():
        return [probe for dtype in offered for probe in _products(target, dtype)] + (
            [*_accumulators(target), *_subnormals(target), *_rounding(target)] if "float32" in dtypes else []
        )


@contextmanager
def _where_it_can() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if verdict_of(error) is not Verdict.UNSUPPORTED:
            raise


def _products(target: Target, dtype: str) -> Iterator[Probe]:
    """Multiply by the identity: what comes out is what went in, to as many bits as the product keeps."""
    bits = FORMATS[getattr(torch, dtype)].precision - 1
    values, numbers = _one_plus_powers(bits, getattr(torch, dtype))
    one = torch.eye(SIZE, dtype=values.dtype).to(target.device)
    given = values.to(target.device)
    for name, product in PRODUCTS.items():
        wrapped = cast(Product, target.backend.wrap(product))
        with _where_it_can():
            answers = {
                "forward": (wrapped(given, one), wrapped(one, given)),
                "dX": (_gradients(wrapped, one, one, given)[0], _gradients(wrapped, one, given, one)[0].mT),
                "dW": (_gradients(wrapped, one, one, given)[1], _gradients(wrapped, given, one, one)[1].mT),
            }
            for where, results in answers.items():
                measured = min(_surviving(result.cpu(), values, numbers, bits) for result in results)
                yield Probe("product", f"{name} {where}", dtype, measured, bits, "mantissa bits")


def _gradients(product: Product, x: Tensor, w: Tensor, cotangent: Tensor) -> tuple[Tensor, ...]:
    leaves = (x.detach().clone().requires_grad_(), w.detach().clone().requires_grad_())
    return torch.autograd.grad(product(*leaves), leaves, cotangent)


def _one_plus_powers(bits: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return a matrix of 1 + 2⁻ᵏ, k from 1 to bits over and over, and the k of each element."""
    numbers = (torch.arange(SIZE * SIZE) % bits + 1).reshape(SIZE, SIZE)
    return (1 + torch.exp2(-numbers.to(torch.float64))).to(dtype), numbers


def _surviving(got: Tensor, values: Tensor, numbers: Tensor, bits: int) -> int:
    """Return up to which k every 1 + 2⁻ᵏ is there."""
    lost = numbers[got != values]
    return int(lost.min()) - 1 if lost.numel() else bits


def _accumulators(target: Target) -> Iterator[Probe]:
    """Add 1 and 2⁻ᵏ, both powers of two, which any product keeps: what is lost, the accumulator lost."""
    bits = FORMATS[torch.float32].precision - 1
    numbers = torch.arange(1, bits + 1)
    small = torch.exp2(-numbers.to(torch.float32))
    rows = torch.zeros(bits, SIZE)
    rows[:, 0], rows[:, SIZE // 2] = 1.0, small
    ones, expected = torch.ones(SIZE, SIZE).to(target.device), 1 + small
    given = rows.to(target.device)
    totals: dict[str, Answer] = {"mm": lambda: (given @ ones)[:, 0], "sum": lambda: given.sum(1)}
    for name, total in totals.items():
        with _where_it_can():
            measured = _surviving(total().cpu(), expected, numbers, bits)
            yield Probe("accumulator", name, "float32", measured, bits, "mantissa bits")


def _subnormals(target: Target) -> Iterator[Probe]:
    """Multiply and differentiate below the smallest normal number. Looked at as bits: 0 may equal a subnormal."""
    tiny = torch.exp2(-torch.arange(127, 150, dtype=torch.float64)).to(torch.float32)
    given = tiny.to(target.device)
    one = torch.ones(tiny.numel()).to(target.device)
    leaf = one.clone().requires_grad_()
    products: dict[str, Answer] = {
        "forward": lambda: given * one,
        "backward": lambda: torch.autograd.grad(leaf * one, leaf, given)[0],
    }
    for name, product in products.items():
        with _where_it_can():
            kept = int((product().cpu().view(torch.int32) != 0).sum())
            yield Probe("subnormals", name, "float32", kept, tiny.numel(), "subnormal numbers that are not zero")


def _rounding(target: Target) -> Iterator[Probe]:
    """Add half an ulp to an even and to an odd number: ties go to the even one."""
    half = 2.0**-24
    given = torch.tensor([1.0, 1.0 + 2 * half]).to(target.device)
    with _where_it_can():
        right = int(((given + half).cpu() == torch.tensor([1.0, 1.0 + 4 * half])).sum())
        yield Probe("rounding", "ties to even", "float32", right, 2, "ties")
