from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from pebble import ProcessExpired

from lab.prove.backends import BACKENDS
from lab.prove.case import Selection, parse_axes
from lab.prove.faults import FAULTS
from lab.prove.probes import Probe
from lab.prove.result import CaseResult, Cause, Cell, ChunkResult
from lab.prove.rule import Verdict
from lab.prove.verification import LISTED, Verification, ask_probes, by_axis, find_causes
from lab.prove.verify import Target

GOOD = Probe("product", "mm dX", "float32", 23, 23, "mantissa bits")
BAD = Probe("product", "mm dW", "float32", 10, 23, "mantissa bits")
WAYS = ("contiguous/dense", "permuted/dense", "contiguous/stride-0")
CASES = tuple(f"mul//float32/{way}/all/small/0" for way in WAYS)


class Gone(Executor):
    """An executor whose every worker dies."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(ProcessExpired("abnormal termination", code=-11))
        return future


class Here(Executor):
    """An executor that runs a task at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def results(*ratios: float) -> tuple[CaseResult, ...]:
    return tuple(
        CaseResult(case, Verdict.FAIL if ratio > 1 else Verdict.PASS, ratio, 20.0, 0)
        for case, ratio in zip(CASES, ratios, strict=False)
    )


def cell(*ratios: float, cause: Cause | None = None) -> Cell:
    return Cell("mul", "float32", results(*ratios), 2 * len(ratios), cause)


def found(*cells: Cell, probes: tuple[Probe, ...] = (GOOD,), soak: dict[str, Any] | None = None) -> Verification:
    return Verification(Target(), Selection(), probes, cells, {"torch": "2.13"}, soak)


@pytest.mark.parametrize(
    ("verification", "passed"),
    [
        (found(cell(0.1, 0.9)), True),
        (found(cell(0.1, 1.1)), False),
        (found(cell(0.1), probes=(GOOD, BAD)), False),
        (found(cell(0.1), soak={"differing": {}}), True),
        (found(cell(0.1), soak={"differing": {"case": 3}}), False),
    ],
)
def test_it_passes_where_no_case_no_probe_and_no_repetition_failed(verification: Verification, passed: bool) -> None:
    assert verification.passed is passed
    assert verification.to_json()["verdict"] == ("pass" if passed else "fail")


def test_it_counts_what_was_done() -> None:
    verification = found(cell(0.1, 2.0), cell(0.3))
    assert (verification.cases, verification.comparisons) == (3, 6)
    assert verification.counts == {"pass": 1, "fail": 1}


def test_it_is_strict_json_with_infinity_as_a_word() -> None:
    cause = Cause("kernel", "one kernel is wrong", ("aten.mul.Tensor",), CASES[1])
    data = found(cell(0.1, math.inf, cause=cause)).to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    (operation,) = data["operations"]
    assert operation["ratio"] == operation["failures"][0]["ratio"] == "inf"
    assert operation["cause"]["reproduce"] == f"lab verify --device cpu --case {CASES[1]}"


def test_only_so_many_failures_are_listed_and_all_are_counted() -> None:
    many = Cell("mul", "float32", (CaseResult(CASES[0], Verdict.FAIL, 2.0),) * 50, 50)
    (operation,) = found(many).to_json()["operations"]
    assert (operation["failing"], len(operation["failures"])) == (50, LISTED)


def test_each_value_of_an_axis_has_its_highest_ratio() -> None:
    assert by_axis(cell(0.1, math.inf, 0.3)) == {
        "layout": {"contiguous": 0.3, "permuted": "inf"},
        "cotangent": {"dense": "inf", "stride-0": 0.3},
        "size": {"small": "inf"},
        "mask": {"all": "inf"},
    }


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target("cuda:1"), "--device cuda:1"),
        (Target(backend=BACKENDS["threads"]), "--device cpu --backend threads"),
        (Target(backend=FAULTS["tf32"]), "--device cpu --simulate tf32"),
        (Target("cuda:0", ieee=True), "--device cuda:0 --ieee"),
    ],
)
def test_what_to_type_repeats_how_the_case_was_run(target: Target, words: str) -> None:
    verification = Verification(target, Selection(), (), (), {})
    assert verification.reproduce(CASES[0]) == f"lab verify {words} --case {CASES[0]}"


def test_what_was_asked_for_is_told() -> None:
    selection = Selection(("mul",), ("float32",), parse_axes(["layout=permuted"]), quick=True, seed=3)
    told = Verification(Target(), selection, (), (), {}).to_json()["selection"]
    assert told == {
        "ops": ["mul"], "dtypes": ["float32"], "axes": {"layout": ["permuted"]}, "quick": True, "deep": False, "seed": 3
    }  # fmt: skip


def test_what_failed_is_diagnosed_and_nothing_else() -> None:
    target = Target(backend=FAULTS["wrong-1e-4"])
    chunks = [ChunkResult("mul", "", "float32", 1, results(9.0)), ChunkResult("exp", "", "float32", 1, results(0.1))]
    causes = find_causes(chunks, [], target, Here())
    assert {place: cause.label for place, cause in causes.items()} == {("mul", "float32"): "kernel"}


def test_a_diagnosis_that_dies_as_the_kernel_did_is_a_crash() -> None:
    causes = find_causes([ChunkResult("mul", "", "float32", 1, results(0.1, 9.0))], [], Target(), Gone())
    cause = causes["mul", "float32"]
    assert (cause.label, cause.case) == ("crash", CASES[1])
    assert "ProcessExpired" in cause.summary


def test_probes_whose_worker_dies_have_failed() -> None:
    (probe,) = ask_probes(("float32",), Target(), Gone())
    assert not probe.passed
    assert "ProcessExpired" in probe.name
