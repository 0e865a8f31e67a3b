"""Every simulated device, on a quick selection: what is faulty is flagged and explained, what is healthy passes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from lab.prove.case import Selection
from lab.prove.diagnose import LABELS, Failure, diagnose
from lab.prove.faults import FAULTS, Faulty, Flaky, Stale, on_results, one_kernel, round_to, stride_blind, wrong_by
from lab.prove.machines import find_backend
from lab.prove.probes import Probe, run_probes
from lab.prove.result import Cell, cells
from lab.prove.verify import Target, verify_chunk

PRODUCTS = ("addmm", "attention", "bmm", "inv", "conv2d", "einsum", "gru", "linear", "matmul", "mm")
SUMS = ("cumsum", "layer_norm", "log_softmax", "logsumexp", "mul_broadcast", "prelu", "repeat", "softmax", "svd")
MUL = ("atan2", "cumprod", "div", "exp", "lerp", "mul", "outer", "pow", "rsqrt", "vector_norm")
MOVES = ("add", "cat", "flip", "relu", "sort")  # without a product, a sum or a dropout mask
DROPOUT = ("dropout", "lstm_dropout")
MADE_WRONG = {
    "tf32": PRODUCTS,
    "bf16-product": PRODUCTS,
    "bf16-accumulation": (*PRODUCTS[:4], *SUMS),
    "wrong-1e-4": MUL,
    "wrong-1e-5": MUL,
    "tail": (*PRODUCTS[:4], *SUMS),
    "nan": MUL,
    "flush": (),  # gradients are far from subnormal: it takes a probe
    "stride-blind": MUL,
    "stale": ("atan2", "div", "exp", "lerp", "mul", "outer", "pow", "rsqrt", "vector_norm"),
    "mask-dropped": DROPOUT,
    "overflow": MUL,
    "flaky": MUL,
    "reordered": (),
}
WRONG_PROBES = {
    "tf32": {"product"},
    "bf16-product": {"product"},
    "bf16-accumulation": {"product", "accumulator"},
    "tail": {"product", "accumulator"},
    "flush": {"subnormals"},
}


@dataclass(frozen=True)
class Found:
    """What a quick verification of a simulated device found."""

    target: Target
    cells: tuple[Cell, ...]
    probes: tuple[Probe, ...]

    @property
    def failing(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.verdict.is_failure]


pytestmark = pytest.mark.usefixtures("one_thread", "same_flips")


def verify(name: str) -> Found:
    target = Target(backend=FAULTS[name])
    operations = (*(MADE_WRONG[name] or (*PRODUCTS[:4], *SUMS[:4], *MUL[:4])), *MOVES)
    sizes = ("small", "large") if name == "overflow" else ("small",)  # a large reference takes a second to measure
    chunks = Selection(operations, ("float32",), (("size", sizes),), quick=True).chunks()
    found = cells([verify_chunk(chunk, target) for chunk in chunks], {})
    return Found(target, tuple(found), tuple(run_probes(target)))


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_simulated_device_makes_wrong_is_flagged_and_explained(name: str) -> None:
    found = verify(name)
    assert sorted(cell.op for cell in found.failing) == sorted(MADE_WRONG[name])
    assert {probe.kind for probe in found.probes if not probe.passed} == WRONG_PROBES.get(name, set())
    causes = {}
    for cell in found.failing:
        failing = tuple(result for result in cell.cases if result.verdict.is_failure)
        causes[cell.op] = diagnose(Failure(failing), found.probes, found.target)
    assert {op: cause.label for op, cause in causes.items()} == dict.fromkeys(causes, FAULTS[name].cause)
    assert all(cause.evidence and cause.summary for cause in causes.values())


def test_every_fault_has_a_cause_that_can_be_told_and_every_healthy_one_none() -> None:
    assert MADE_WRONG.keys() == FAULTS.keys()
    for row in FAULTS.values():
        assert row.simulated
        assert row.healthy is (not row.cause)
        assert row.cause in (LABELS.keys() | {""})


def test_each_finds_its_way_to_a_worker_by_name() -> None:
    for name, row in FAULTS.items():
        assert find_backend(name) is row


@pytest.mark.parametrize("bits", [23, 10, 7])
def test_rounding_keeps_so_many_bits_to_nearest_and_ties_to_even(bits: int) -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    step = torch.exp2(x.abs().log2().floor() - bits).to(torch.float64)
    expected = (x.to(torch.float64) / step).round() * step  # torch rounds ties to even
    if bits < 23:
        assert torch.equal(round_to(x, bits).to(torch.float64), expected)
        ties = torch.tensor([1 + 2.0 ** -(bits + 1), 1 + 3 * 2.0 ** -(bits + 1)])
        assert round_to(ties, bits).tolist() == [1.0, 1 + 2.0 ** -(bits - 1)]


def test_bfloat16_is_seven_bits() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(round_to(x, 7), x.to(torch.bfloat16).to(torch.float32))


@pytest.mark.parametrize("x", [torch.tensor([torch.inf, -torch.inf, torch.nan]), torch.ones(2, dtype=torch.float64), 3])
def test_rounding_leaves_alone_what_is_no_finite_float32(x: Tensor | int) -> None:
    rounded = round_to(x, 7)
    assert rounded is x or torch.equal(rounded.nan_to_num(nan=5.0), torch.as_tensor(x).nan_to_num(nan=5.0))


def test_one_kernel_is_spoilt_and_no_other() -> None:
    x = torch.tensor([2.0, 3.0])
    with one_kernel("mul", wrong_by(0.5)).context():
        product, total = x * x, x + x
    assert product.tolist() == [6.0, 13.5]
    assert total.tolist() == [4.0, 6.0]


def test_the_backward_is_spoilt_too() -> None:
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    with one_kernel("tanh_backward", wrong_by(1.0)).context():
        (spoilt,) = torch.autograd.grad(x.tanh().sum(), x)
    (right,) = torch.autograd.grad(x.tanh().sum(), x)
    assert torch.equal(spoilt, 2 * right)


def test_a_kernel_that_writes_in_place_is_spoilt_in_place() -> None:
    x = torch.ones(3)
    with Faulty(["mul_"], on_results(lambda y: y + 1)):
        returned = x.mul_(2)
    assert x.tolist() == returned.tolist() == [3.0, 3.0, 3.0]


def test_a_stride_blind_kernel_reads_memory_in_order() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    with Faulty(["mul"], stride_blind):
        assert (x * 1).tolist() == x.tolist()
        assert (x.mT * 1).tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
        assert (x[:, ::2] * 1).tolist() == [[0.0, 1.0], [2.0, 3.0]]


def test_a_stale_kernel_adds_what_it_left_where_the_shape_is_the_same() -> None:
    one, other = torch.ones(2), torch.ones(3)
    with Stale(["mul"]):
        assert [(one * 2).tolist(), (other * 2).tolist(), (one * 2).tolist()] == [[2, 2], [2, 2, 2], [4, 4]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_flaky_kernel_flips_the_last_bit_of_one_number_now_and_then(dtype: torch.dtype) -> None:
    x, ulp = torch.ones(50, dtype=dtype), torch.finfo(dtype).eps
    with Flaky(["mul"], one_in=3):
        wrong = [(x * 1 != 1).sum().item() for _ in range(60)]
        largest = max(float((x * 1 - 1).abs().max()) for _ in range(20))
    assert set(wrong) == {0, 1}
    assert 10 <= sum(wrong) <= 30
    assert largest == ulp
