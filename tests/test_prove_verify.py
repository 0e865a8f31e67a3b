from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch

import lab.prove.verify
from lab.errors import DeviceUnavailable
from lab.prove.backend import Backend
from lab.prove.case import COTANGENTS, Case, Chunk, Selection
from lab.prove.faults import FAULTS, Faulty, Flaky, one_kernel, wrong_by
from lab.prove.gradient import place_case
from lab.prove.operation import LAYOUTS
from lab.prove.result import CaseResult
from lab.prove.rule import Verdict
from lab.prove.verify import Target, verify_chunk

pytestmark = pytest.mark.usefixtures("one_thread", "same_flips")


def chunk(op: str, dtype: str = "float32", **axes: str) -> Chunk:
    """Return the chunk of an operation. axes: values by axis, separated by commas."""
    chosen = tuple((axis, tuple(values.split(","))) for axis, values in axes.items())
    (found, *_) = Selection((op,), (dtype,), chosen).chunks()
    return found


def verdicts(chunk: Chunk, target: Target | None = None) -> dict[str, CaseResult]:
    """Return the results by the layout, cotangent, mask and size of their cases. target: the CPU where it is none."""
    results = verify_chunk(chunk, target or Target()).cases
    ways = [f"{c.layout} {c.cotangent} {c.mask} {c.size}" for c in chunk.cases]
    assert [result.case for result in results] == [case.id for case in chunk.cases]
    return dict(zip(ways, results, strict=True))


def simulated(context: Callable[[], Any], *, threads: int = 1) -> Target:
    return Target(backend=Backend("test", "", context=context, simulated=True, threads=threads))


def raises(error: Exception) -> Callable[..., Any]:
    """Return a kernel that raises where one of its inputs does not lie in the order of memory."""

    def spoil(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if any(isinstance(x, torch.Tensor) and not x.is_contiguous() for x in args):
            raise error
        return func(*args, **kwargs)

    return spoil


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_a_healthy_cpu_passes_in_every_layout_with_every_cotangent_and_mask(dtype: str) -> None:
    for op in ("mul", "softmax", "linear", "amax", "embedding"):
        failing = [result for result in verify_chunk(chunk(op, dtype), Target()).cases if result.verdict.is_failure]
        assert failing == []


def test_every_gradient_is_compared() -> None:
    linear = chunk("linear", size="small")
    masks = {"all": 3, "others": 2}
    assert verify_chunk(linear, Target()).comparisons == sum(masks.get(case.mask, 1) for case in linear.cases)


def test_layouts_and_cotangents_in_memory_do_not_change_the_numbers() -> None:
    """Every case of a problem has, bit by bit, the gradient of the plainest one, where no sum is turned round."""
    results = verdicts(chunk("mul", size="odd"))
    assert {way.split()[0] for way in results} == set(LAYOUTS)
    assert {way.split()[1] for way in results} == set(COTANGENTS)
    by_problem: dict[tuple[bool, bool], set[float]] = {}
    for way, result in results.items():
        if "all" in way:
            by_problem.setdefault(("expanded" in way, "stride-0" in way), set()).add(result.ratio)
    assert {len(ratios) for ratios in by_problem.values()} == {1}


def test_a_wrong_kernel_fails_everywhere() -> None:
    results = verdicts(chunk("mul"), Target(backend=one_kernel("mul", wrong_by(1e-4))))
    assert {result.verdict for result in results.values()} == {Verdict.FAIL}
    assert all(10 < result.bits < 14 for result in results.values())  # 1e-4 is 2⁻¹³


def test_a_fault_of_one_layout_fails_in_that_layout() -> None:
    results = verdicts(chunk("mul", size="small", mask="all"), Target(backend=FAULTS["stride-blind"]))
    failing = {way for way, result in results.items() if result.verdict.is_failure}
    assert {way for way in results if "permuted" in way} <= failing
    assert "contiguous dense all small" not in failing


def test_an_exception_is_a_verdict_of_its_case_alone() -> None:
    target = simulated(lambda: Faulty(["mul"], raises(RuntimeError("misaligned address\n  at kernel.cu:7"))))
    results = verdicts(chunk("mul", layout="contiguous,permuted", cotangent="dense"), target)
    for way, result in results.items():
        if "permuted" in way:
            assert (result.verdict, result.ratio) == (Verdict.CRASH, math.inf)
            assert result.note == "RuntimeError: misaligned address"
        else:
            assert result.verdict is Verdict.PASS


def test_a_message_that_announces_its_cause_is_told_with_it() -> None:
    message = "backend='inductor' raised:\nCppCompileError: C++ compile error\n\nCommand:\ng++"
    target = simulated(lambda: Faulty(["mul"], raises(RuntimeError(message))))
    notes = {result.note for result in verdicts(chunk("mul", layout="permuted", cotangent="dense"), target).values()}
    assert notes == {"RuntimeError: backend='inductor' raised: CppCompileError: C++ compile error"}


def test_an_exception_while_a_case_is_placed_is_a_verdict_of_its_case_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def place(case: Case, *others: Any) -> Any:
        if case.layout == "permuted":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return place_case(case, *others)

    monkeypatch.setattr(lab.prove.verify, "place_case", place)
    results = verdicts(chunk("mul", layout="contiguous,permuted", cotangent="dense"))
    for way, result in results.items():
        assert result.verdict is (Verdict.CRASH if "permuted" in way else Verdict.PASS)


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("no such kernel"),
        RuntimeError("\"mul_cuda\" not implemented for 'BFloat16'"),
        RuntimeError("Float8 is not supported on this device"),
        TypeError("MPS doesn't support float64"),
    ],
)
def test_what_a_device_says_that_it_cannot_do_is_unsupported(error: Exception) -> None:
    target = simulated(lambda: Faulty(["mul"], raises(error)))
    results = verdicts(chunk("mul", layout="permuted", cotangent="dense"), target)
    assert {result.verdict for result in results.values()} == {Verdict.UNSUPPORTED}
    assert type(error).__name__ in results["permuted dense all small"].note


def test_an_operation_without_a_kernel_for_a_dtype_is_unsupported_and_has_no_ratio() -> None:
    results = verify_chunk(chunk("cholesky", "bfloat16", size="small"), Target()).cases
    assert {(result.verdict, result.ratio, result.bits) for result in results} == {(Verdict.UNSUPPORTED, 0.0, -1.0)}


def test_a_dtype_that_a_device_does_not_compute_in_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise DeviceUnavailable("mps does not compute in float64.", "", "")

    monkeypatch.setattr(lab.prove.verify, "check_dtype", refuse)
    found = verify_chunk(chunk("mul", "float64"), Target())
    assert {(result.verdict, result.note) for result in found.cases} == {
        (Verdict.UNSUPPORTED, "mps does not compute in float64.")
    }
    assert found.comparisons == 0


def test_a_second_run_that_differs_in_its_bits_is_not_deterministic() -> None:
    results = verdicts(chunk("mul", size="small"), simulated(lambda: Flaky(["mul"], one_in=1)))
    assert {(result.verdict, result.note) for result in results.values()} == {
        (Verdict.NONDET, "two runs differ in their bits")
    }


@pytest.mark.parametrize(("threads", "verdict"), [(1, Verdict.NONDET), (2, Verdict.WARN)])
def test_where_torch_documents_that_bits_may_differ_it_is_a_warning(threads: int, verdict: Verdict) -> None:
    """index_add adds in no fixed order where there are several threads; what flips bits here is the simulation."""
    target = simulated(lambda: Flaky(["index_select"], one_in=1), threads=threads)
    results = verdicts(chunk("index_add", size="small", mask="1", cotangent="dense"), target)
    assert {result.verdict for result in results.values()} == {verdict}


def test_several_threads_do_not_excuse_an_operation_that_adds_in_one_order() -> None:
    results = verdicts(chunk("mul", size="small"), simulated(lambda: Flaky(["mul"], one_in=1), threads=2))
    assert {result.verdict for result in results.values()} == {Verdict.NONDET}


def test_a_gradient_that_is_wrong_the_second_time_only_fails() -> None:
    only = chunk("sin", size="small", layout="contiguous", cotangent="dense")
    (result,) = verify_chunk(only, Target(backend=FAULTS["stale"])).cases
    assert (result.verdict, result.note) == (Verdict.FAIL, "pass, the second time fail")


def test_a_zero_of_the_other_sign_is_another_bit() -> None:
    calls = count()

    def sign(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = func(*args, **kwargs)
        return torch.where(x == 0, -0.0 if next(calls) // 2 % 2 else 0.0, x)  # two calls a run: forward and backward

    only = chunk("masked_fill", size="small", layout="contiguous", cotangent="dense")
    (result,) = verify_chunk(only, simulated(lambda: Faulty(["masked_fill"], sign))).cases
    assert result.verdict is Verdict.NONDET


def test_warnings_of_kernels_stay_off_the_screen(recwarn: pytest.WarningsRecorder) -> None:
    def warn(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        warnings.warn("experimental", UserWarning, stacklevel=1)
        return func(*args, **kwargs)

    verdicts(chunk("mul", size="small"), simulated(lambda: Faulty(["mul"], warn)))
    assert [str(warning.message) for warning in recwarn] == []


def test_only_a_plain_cpu_is_no_witness_of_its_own() -> None:
    assert not Target().with_baseline
    assert Target(backend=FAULTS["tf32"]).with_baseline
    assert Target("cuda:1").with_baseline
