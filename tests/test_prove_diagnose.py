"""Diagnoses beyond those that the simulated devices of test_prove_faults.py name."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch

from lab.prove.backend import Backend
from lab.prove.case import Chunk, Selection, parse_case
from lab.prove.diagnose import LABELS, Failure, diagnose
from lab.prove.faults import FAULTS, Faulty, Spoil, one_kernel, wrong_by
from lab.prove.probes import Probe, run_probes
from lab.prove.result import CaseResult, Cause
from lab.prove.rule import Verdict
from lab.prove.switches import SWITCHES, cured_by
from lab.prove.verify import Target, quiet, verify_chunk

SIN = "sin//float32/contiguous/dense/all/small/0"


pytestmark = pytest.mark.usefixtures("one_thread")


def target(*kernels: str, spoil: Spoil) -> Target:
    return Target(backend=Backend("test", "", context=lambda: Faulty(kernels, spoil), simulated=True))


def failing(op: str, where: Target, dtype: str = "float32") -> Failure:
    chunks = Selection((op,), (dtype,), quick=True, axes=(("size", ("small",)),)).chunks()
    results = [result for chunk in chunks for result in verify_chunk(chunk, where).cases]
    return Failure(tuple(result for result in results if result.verdict.is_failure))


def explain(op: str, where: Target, probes: list[Probe] | None = None) -> Cause:
    return diagnose(failing(op, where), probes or [], where)


def failed(*cases: str, verdict: Verdict = Verdict.FAIL, note: str = "") -> Failure:
    return Failure(tuple(CaseResult(case, verdict, math.inf, note=note) for case in cases))


def test_the_plainest_failing_case_is_the_one_that_is_explained() -> None:
    ways = [
        "permuted/dense/all/odd",
        "strided/transposed/all/small",
        "strided/dense/all/small",
        "permuted/dense/all/large",
    ]
    failure = failed(*(f"mul//float32/{way}/0" for way in ways))
    assert [case.id for case in failure.cases] == [f"mul//float32/{ways[i]}/0" for i in (2, 1, 0, 3)]


def test_a_wrong_kernel_is_named_with_its_factor_and_its_place() -> None:
    cause = explain("sin", Target(backend=one_kernel("mul", wrong_by(1e-3))))
    assert cause.label == "kernel"
    assert cause.summary == LABELS["kernel"]
    factor, place = cause.evidence
    assert factor == "its results are 1.001 times what they should be"
    assert place.startswith("aten.mul.Tensor, call 3 of 3, is the first to leave its float64 replay: ")
    assert cause.case == SIN


def test_a_crash_tells_what_was_raised() -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("misaligned address")

    cause = explain("sin", target("cos", spoil=fail))
    assert (cause.label, cause.evidence) == ("crash", ("RuntimeError: misaligned address",))


def test_where_every_kernel_agrees_with_its_replay_the_cause_is_unknown() -> None:
    cause = diagnose(failed(SIN), [], Target(backend=FAULTS["reordered"]))
    assert (cause.label, cause.evidence) == ("unknown", ("every kernel agrees with its replay, from its own inputs",))


def test_a_wrong_product_is_a_kernel_where_the_probes_find_all_bits() -> None:
    where = Target(backend=one_kernel("mm", wrong_by(1e-3)))
    exact = [probe for probe in run_probes(Target()) if probe.passed]
    assert explain("mm", where, exact).label == "kernel"
    assert explain("mm", where, run_probes(Target(backend=FAULTS["tf32"]))).label == "product-precision"


def test_a_loss_of_precision_is_told_with_the_probe_that_saw_it() -> None:
    where = Target(backend=FAULTS["tf32"])
    cause = explain("mm", where, run_probes(where))
    assert cause.evidence[0] == "product probe, mm forward: 10 of 23 mantissa bits, as TF32 keeps"


def flipping(element: Callable[[torch.Tensor], torch.Tensor]) -> Spoil:
    """Return a spoiler that changes every second run of an operation with two calls of its kernel."""
    calls = count()

    def spoil(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = func(*args, **kwargs)
        return element(x) if next(calls) // 2 % 2 else x

    return spoil


@pytest.mark.parametrize(
    "change",
    [lambda x: x * (1 + 2.0**-23), lambda x: torch.where(x == 0, -0.0, x)],
    ids=["last bit", "sign of zero"],
)
def test_what_changes_from_run_to_run_is_counted_in_bits(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    where = target("masked_fill", spoil=flipping(change))
    case = parse_case("masked_fill//float32/contiguous/dense/all/small/0")
    (result,) = verify_chunk(Chunk("masked_fill", "", "float32", (case,)), where).cases
    assert result.verdict is Verdict.NONDET
    cause = diagnose(Failure((result,)), [], where)
    assert cause.label == "flaky"
    assert cause.evidence == ("3 of 5 repetitions differ from the first run in their bits",)


def test_one_wrong_element_that_is_not_the_last_is_no_tail() -> None:
    def first(x: torch.Tensor) -> torch.Tensor:
        spoilt = x.clone(memory_format=torch.contiguous_format)
        spoilt.view(-1)[0] += 1
        return spoilt

    def spoil(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return first(func(*args, **kwargs))

    cause = explain("sin", target("mul", spoil=spoil))
    assert cause.label == "kernel"
    assert cause.evidence[0] == "1 of 20 elements are far off"


def test_no_switch_of_a_healthy_cpu_is_left_changed() -> None:
    def settings() -> tuple[object, ...]:
        return (
            torch.backends.mkldnn.matmul.fp32_precision,
            torch.backends.mkldnn.conv.fp32_precision,
            torch.backends.mkldnn.enabled,
            torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(),
            torch.backends.cuda.matmul.fp32_precision,
            torch.backends.cudnn.conv.fp32_precision,
            torch.backends.cudnn.enabled,
        )

    before = settings()
    for switch in SWITCHES:
        with quiet(), switch.off():
            assert settings() != before or "cuda" in switch.kinds or "set_num_threads" in switch.name
    assert settings() == before


def test_a_switch_that_mends_a_case_is_named() -> None:
    class Precision(Faulty):
        """A device whose products are coarse as long as oneDNN is on."""

        def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if torch.backends.mkldnn.enabled and str(func) == "aten.mm.default":
                return result.to(torch.bfloat16).to(torch.float32)
            return result

    where = Target(backend=Backend("test", "", context=lambda: Precision([], wrong_by(0.0))))
    case = parse_case("mm//float32/contiguous/dense/all/small/0")
    assert cured_by(case, where) == ["cured by torch.backends.mkldnn.flags(enabled=False)"]
    assert cured_by(case, Target(backend=one_kernel("mm", wrong_by(1e-3)))) == []
