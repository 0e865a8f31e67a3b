from __future__ import annotations

import pytest
import torch

from lab.prove.backend import Backend
from lab.prove.blame import Blame, find_blame, record_calls
from lab.prove.case import Case, parse_case
from lab.prove.faults import FAULTS, Faulty, one_kernel, wrong_by
from lab.prove.verify import Target

KERNELS = {
    "aten.mul.Tensor": "mul",
    "aten.mm.default": "linear",
    "aten.tanh_backward.default": "tanh",
    "aten.convolution_backward.default": "conv2d",
    "aten.native_layer_norm_backward.default": "layer_norm",
    "aten._softmax_backward_data.default": "softmax",
    "aten.gelu_backward.default": "gelu",
    "aten.cumsum.default": "cumsum",
    "aten.embedding_dense_backward.default": "embedding",
    "aten.index_add.default": "index_select",
    "aten.linalg_inv_ex.default": "inv",
}


pytestmark = pytest.mark.usefixtures("one_thread")


def case(op: str, *, layout: str = "contiguous", dtype: str = "float32", size: str = "small") -> Case:
    return parse_case(f"{op}//{dtype}/{layout}/dense/all/{size}/0")


def blame(case: Case, target: Target) -> Blame | None:
    found, unknown = find_blame(record_calls(case, target), case, target)
    assert unknown == ()
    return found


@pytest.mark.parametrize(("kernel", "op"), KERNELS.items(), ids=KERNELS)
def test_the_kernel_that_is_wrong_by_1e_4_is_named_and_no_other(kernel: str, op: str) -> None:
    target = Target(backend=one_kernel(kernel.split(".")[1], wrong_by(1e-4)))
    found = blame(case(op), target)
    assert found is not None
    assert found.kernel == kernel
    assert found.score > 1
    torch.testing.assert_close(found.got.to(torch.float64), found.expected * (1 + 1e-4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("op", sorted(set(KERNELS.values()) - {"inv"}))
def test_nothing_is_blamed_on_a_healthy_cpu(op: str, dtype: str) -> None:
    for layout in ("contiguous", "permuted"):
        assert blame(case(op, layout=layout, dtype=dtype), Target()) is None


@pytest.mark.parametrize("op", ["mm", "sum", "layer_norm"])
def test_nothing_is_blamed_where_sums_are_only_in_another_order(op: str) -> None:
    assert blame(case(op, size="odd"), Target(backend=FAULTS["reordered"])) is None


def test_what_follows_from_a_wrong_result_is_not_blamed() -> None:
    """The first call that is wrong decides; what it hands on is right, given that."""
    target = Target(backend=one_kernel("sigmoid", wrong_by(1e-3)))
    calls = record_calls(case("sigmoid"), target)
    assert [call.name for call in calls] == ["aten.sigmoid.default", "aten.sigmoid_backward.default"]
    found, _ = find_blame(calls, case("sigmoid"), target)
    assert found is not None
    assert (found.kernel, found.position) == ("aten.sigmoid.default", 0)
    assert find_blame(calls[1:], case("sigmoid"), target) == (None, ())


def test_calls_keep_their_inputs_as_they_were_and_where_they_lay() -> None:
    calls = record_calls(case("mul", layout="permuted"), Target())
    assert [call.name for call in calls] == ["aten.mul.Tensor"] * 3
    assert not any(call.in_order for call in calls)
    x, y = calls[0].args
    assert torch.equal(calls[0].results[0], x * y)
    assert all(call.in_order for call in record_calls(case("mul"), Target()))


def test_a_call_repeated_alone_is_wrong_again_and_on_a_healthy_device_right() -> None:
    target = Target(backend=one_kernel("mul", wrong_by(1e-4)))
    found = blame(case("mul"), target)
    assert found is not None
    assert all(score == pytest.approx(found.score) for score in found.repeat(target, times=2))
    assert found.repeat(Target()) == [pytest.approx(0, abs=0.1)]


def test_a_stride_blind_call_is_right_once_its_inputs_lie_in_order() -> None:
    target = Target(backend=FAULTS["stride-blind"])
    found = blame(case("mul", layout="permuted"), target)
    assert found is not None
    assert not found.call.in_order
    assert found.repeat(target)[0] > 1
    assert found.repeat(target, in_order=True)[0] < 1


def test_what_an_earlier_run_left_is_seen_in_the_second() -> None:
    target = Target(backend=FAULTS["stale"])
    only = case("sin")
    first, second = (find_blame(record_calls(only, target, runs=runs), only, target)[0] for runs in (1, 2))
    assert first is None
    assert second is not None
    assert second.kernel == "aten.mul.Tensor"


def test_where_a_kernel_raises_the_calls_before_it_are_there() -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    target = Target(backend=Backend("test", "", context=lambda: Faulty(["tanh_backward"], fail), simulated=True))
    assert [call.name for call in record_calls(case("tanh"), target)] == ["aten.tanh.default"]


@pytest.mark.parametrize("op", ["maximum", "clamp", "cumprod", "attention_masked"])
def test_comparisons_whose_results_are_true_or_false_are_no_suspects(op: str) -> None:
    calls = record_calls(case(op), Target())
    assert any(result.dtype is torch.bool for call in calls for result in call.results)
    assert find_blame(calls, case(op), Target()) == (None, ())


def without_float64(func: object, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """A kernel, such as a fused one, that exists in the working dtype alone."""
    assert callable(func)
    if any(isinstance(x, torch.Tensor) and x.dtype is torch.float64 for x in args):
        raise NotImplementedError
    return func(*args, **kwargs)


@pytest.mark.parametrize(("target", "unknown"), [("plain", ("aten.tanh.default",)), ("tf32", ())])
def test_a_kernel_without_a_float64_form_is_listed_or_replayed_in_its_own_dtype(
    target: str, unknown: tuple[str, ...]
) -> None:
    """A CPU cannot replay its own kernel as its own witness; beside another device it can."""
    chosen = Target() if target == "plain" else Target(backend=FAULTS[target])
    calls = record_calls(case("tanh"), chosen)
    with Faulty(["tanh"], without_float64):
        assert find_blame(calls, case("tanh"), chosen) == (None, unknown)
