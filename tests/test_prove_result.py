from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.prove.result import CaseResult, Cause, Cell, ChunkResult, cells
from lab.prove.rule import Verdict

ratios = st.floats(0, allow_nan=False) | st.just(math.inf)
case_results = st.builds(
    CaseResult,
    st.text(),
    st.sampled_from(Verdict),
    ratios,
    st.floats(-1, 53),
    st.integers(-1, 8),
    st.text(),
)
chunk_results = st.builds(
    ChunkResult, st.text(), st.text(), st.text(), st.integers(0), st.lists(case_results).map(tuple)
)


def case(verdict: Verdict, ratio: float = 0.1, bits: float = 20.0, name: str = "") -> CaseResult:
    return CaseResult(name or str(verdict), verdict, ratio, bits)


def cell(*results: CaseResult) -> Cell:
    return Cell("mm", "float32", results, len(results))


@settings(max_examples=50)
@given(result=chunk_results)
def test_a_chunk_survives_strict_json(result: ChunkResult) -> None:
    assert ChunkResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))) == result


@given(data=st.lists(st.sampled_from(Verdict), min_size=1))
def test_a_cell_fails_where_a_case_of_it_does(data: list[Verdict]) -> None:
    assert cell(*map(case, data)).verdict.is_failure is any(verdict.is_failure for verdict in data)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ([Verdict.PASS, Verdict.WARN], Verdict.WARN),
        ([Verdict.PASS, Verdict.UNSUPPORTED], Verdict.PASS),
        ([Verdict.UNSUPPORTED, Verdict.UNSUPPORTED], Verdict.UNSUPPORTED),
        ([Verdict.UNSUPPORTED, Verdict.FAIL, Verdict.FORMULA], Verdict.FAIL),
    ],
)
def test_a_cell_is_unsupported_only_where_nothing_ran(said: list[Verdict], verdict: Verdict) -> None:
    assert cell(*map(case, said)).verdict is verdict


def test_the_worst_case_has_the_cell_s_verdict_and_of_those_the_highest_ratio() -> None:
    results = [case(Verdict.FAIL, 2.0, name="a"), case(Verdict.FAIL, 3.0, name="b"), case(Verdict.FORMULA, 9.0)]
    assert cell(*results).worst.case == "b"
    assert cell(case(Verdict.UNSUPPORTED), case(Verdict.PASS, 0.2, name="c"), case(Verdict.PASS)).worst.case == "c"


def test_ratio_and_bits_are_over_the_cases_that_were_compared() -> None:
    found = cell(case(Verdict.PASS, 0.1, 22), case(Verdict.FAIL, 7.0, 10), case(Verdict.PASS, 0.2, 23))
    assert (found.ratio, found.bits) == (7.0, 22)
    assert cell(CaseResult("a", Verdict.CRASH, math.inf)).bits is None


def test_chunks_are_gathered_by_operation_and_dtype_in_their_order() -> None:
    chunks = [
        ChunkResult(op, sample, dtype, 2, (case(Verdict.PASS, name=f"{op} {sample} {dtype}"),))
        for op in ("softmax", "mm")
        for sample in ("", "first")
        for dtype in ("float32", "float16")
    ]
    cause = Cause("kernel", "one kernel is wrong", (), "case")
    found = cells(chunks, {("mm", "float32"): cause})
    assert [(one.op, one.dtype, one.comparisons, one.cause) for one in found] == [
        ("softmax", "float32", 4, None),
        ("softmax", "float16", 4, None),
        ("mm", "float32", 4, cause),
        ("mm", "float16", 4, None),
    ]
    assert [one.case for one in found[1].cases] == ["softmax  float16", "softmax first float16"]
