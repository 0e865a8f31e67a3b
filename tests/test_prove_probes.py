from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from lab.device import DTYPES
from lab.prove.backend import Backend
from lab.prove.faults import FAULTS, Faulty, one_kernel, wrong_by
from lab.prove.probes import Probe, run_probes
from lab.prove.verify import Target

pytestmark = pytest.mark.usefixtures("one_thread")


def ask(name: str, *dtypes: str) -> list[Probe]:
    return run_probes(Target(backend=FAULTS[name]), dtypes or ("float32",))


def measured(probes: list[Probe], kind: str, dtype: str = "float32") -> set[int]:
    return {probe.measured for probe in probes if (probe.kind, probe.dtype) == (kind, dtype)}


def test_a_clean_cpu_is_exact_in_every_dtype() -> None:
    probes = run_probes(Target(), DTYPES)
    assert [probe for probe in probes if probe.measured != probe.expected or not probe.passed] == []
    assert {(p.kind, p.dtype): p.expected for p in probes} == {
        ("product", "float64"): 52,
        ("product", "float32"): 23,
        ("product", "bfloat16"): 7,
        ("product", "float16"): 10,
        ("accumulator", "float32"): 23,
        ("subnormals", "float32"): 23,
        ("rounding", "float32"): 2,
    }


def test_products_are_asked_forward_and_for_both_gradients() -> None:
    names = [probe.name for probe in run_probes(Target()) if probe.kind == "product"]
    assert names == [
        f"{op} {where}"
        for op in ("mm", "bmm", "addmm", "linear", "conv1d", "conv2d")
        for where in ("forward", "dX", "dW")
    ]


@pytest.mark.parametrize(("name", "bits"), [("tf32", 10), ("bf16-product", 7)])
def test_products_of_rounded_inputs_keep_so_many_bits_and_all_else_is_exact(name: str, bits: int) -> None:
    probes = ask(name, "float32", "float64")
    assert measured(probes, "product") == {bits}
    assert measured(probes, "product", "float64") == {52}
    assert {probe.kind for probe in probes if not probe.passed} == {"product"}


def test_a_coarse_accumulator_loses_what_is_added() -> None:
    assert measured(ask("bf16-accumulation"), "accumulator") == {7}


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_only_products_are_asked_in_other_dtypes(dtype: str) -> None:
    assert {(probe.kind, probe.dtype) for probe in run_probes(Target(), (dtype,))} == {("product", dtype)}


def test_flushed_subnormals_are_noticed_forward_and_backward_and_nothing_else_is() -> None:
    probes = ask("flush")
    assert [(probe.name, probe.measured) for probe in probes if not probe.passed] == [("forward", 0), ("backward", 0)]
    assert measured(probes, "subnormals") == {0}


@contextmanager
def flushing() -> Iterator[None]:
    """Have this CPU take subnormal numbers for 0."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush subnormal numbers")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def test_a_real_cpu_that_flushes_is_noticed() -> None:
    with flushing():
        assert measured(run_probes(Target()), "subnormals") == {0}


def test_subnormals_of_a_device_are_seen_where_the_cpu_takes_them_for_zero() -> None:
    """There 0 equals a subnormal number, and only its bits tell the two apart."""

    def kept(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        torch.set_flush_denormal(False)
        try:
            return func(*args, **kwargs)
        finally:
            torch.set_flush_denormal(True)

    device = Backend("test", "", context=lambda: Faulty(["mul", "_to_copy"], kept), simulated=True)
    with flushing():
        assert measured(run_probes(Target(backend=device)), "subnormals") == {23}


def test_a_sum_that_does_not_round_ties_to_even_is_noticed() -> None:
    probes = run_probes(Target(backend=one_kernel("add", wrong_by(2.0**-23))))
    assert ("rounding", 0) in {(probe.kind, probe.measured) for probe in probes}


@pytest.mark.parametrize("name", ["wrong-1e-4", "reordered"])
def test_what_is_no_question_of_precision_passes(name: str) -> None:
    assert all(probe.passed for probe in ask(name))


def test_an_answer_is_plain_data() -> None:
    (probe, *_) = run_probes(Target())
    assert json.loads(json.dumps(probe.to_json())) == {
        "kind": "product",
        "name": "mm forward",
        "dtype": "float32",
        "measured": 23,
        "expected": 23,
        "unit": "mantissa bits",
        "passed": True,
    }
