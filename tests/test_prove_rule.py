from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lab.compare import FORMATS, Format
from lab.prove.reference import Reference
from lab.prove.rule import (
    RMS_LIMIT,
    C,
    Score,
    Verdict,
    badness,
    bias_limit,
    growth,
    is_beyond_rounding,
    score_gradients,
    worst,
)

F32, BF16, F16 = (FORMATS[dtype] for dtype in (torch.float32, torch.bfloat16, torch.float16))
every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: f"{form.precision} bits")
seeds = st.integers(0, 2**31)
sizes = st.integers(1, 300)


def draw(seed: int, *shape: int) -> Tensor:
    """Draw numbers in ±[0.5, 1.5]."""
    source = torch.Generator().manual_seed(seed)
    size = torch.rand(shape, generator=source, dtype=torch.float64) + 0.5
    return size * torch.where(torch.rand(shape, generator=source) < 0.5, -1.0, 1.0)


def reference(value: Tensor, *, spread: Tensor | float = 0.0, baseline: Tensor | float = 0.0) -> Reference:
    return Reference(value, *(torch.as_tensor(x, dtype=torch.float64).expand(value.shape) for x in (spread, baseline)))


def score(got: Tensor, truth: Reference, form: Format = F32, times: float = 1.0) -> Score:
    """Apply the rule to one gradient."""
    (found,) = score_gradients(got[None], truth, form=form, growth=times)
    return found


def verdict(got: Tensor, truth: Reference, form: Format = F32, times: float = 1.0) -> Verdict:
    return score(got, truth, form, times).verdict


def allowed(truth: Reference, form: Format) -> Tensor:
    """Return T of the rule from its definition, for finite references."""
    spread = torch.clamp(truth.spread, min=truth.spread.square().mean().sqrt())
    arithmetic = spread + form.unit_roundoff * truth.value.abs() + form.smallest_subnormal
    return torch.maximum(arithmetic, truth.baseline)


@every_format
@given(seed=seeds, size=sizes)
def test_an_exact_gradient_scores_zero(form: Format, seed: int, size: int) -> None:
    value = draw(seed, size)
    found = score(value, reference(value, spread=draw(seed + 1, size).abs()), form)
    assert found == Score(score=0, formula=0, bits=form.precision, illposed=False)
    assert found.verdict is Verdict.PASS


@every_format
@given(seed=seeds, size=sizes, excess=st.floats(1.25, 1e6), place=st.integers(0, 299))
def test_one_wrong_element_is_a_failure_wherever_it_is(
    form: Format, seed: int, size: int, excess: float, place: int
) -> None:
    value, spread = draw(seed, size), draw(seed + 1, size).abs() * form.unit_roundoff
    truth = reference(value, spread=spread, baseline=draw(seed + 2, size).abs() * form.unit_roundoff)
    got = value.clone()
    got[place % size] += C * excess * allowed(truth, form)[place % size]
    assert verdict(got, truth, form) is Verdict.FAIL


@every_format
@given(seed=seeds, size=sizes)
def test_honest_rounding_passes(form: Format, seed: int, size: int) -> None:
    value = draw(seed, size)
    truth = reference(value, spread=form.unit_roundoff * draw(seed + 1, size).abs())
    got = value + form.unit_roundoff * value * (draw(seed + 2, size) / 1.5)
    assert verdict(got, truth, form) is Verdict.PASS


@every_format
@given(seed=seeds, size=sizes, factors=st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)))
def test_a_larger_error_never_scores_less(form: Format, seed: int, size: int, factors: tuple[float, float]) -> None:
    value, error = draw(seed, size), draw(seed + 1, size) * form.unit_roundoff
    truth = reference(value, spread=draw(seed + 2, size).abs() * form.unit_roundoff)
    less, more = sorted(factors)
    found = score_gradients(torch.stack([value + f * error for f in (less, more)]), truth, form=form, growth=1.0)
    slack = 1e-3 if form.precision == 53 else 1e-9  # the errors are rounded themselves
    assert found[0].score <= found[1].score + slack * (1 + found[1].score)
    assert found[0].formula <= found[1].formula + slack * (1 + found[1].formula)


@given(seed=seeds, size=sizes, spreads=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_larger_spread_never_scores_more(seed: int, size: int, spreads: tuple[float, float]) -> None:
    value = draw(seed, size)
    got = value + draw(seed + 1, size) * 1e-5
    tight, loose = (score(got, reference(value, spread=draw(seed + 2, size).abs() * s)) for s in sorted(spreads))
    assert loose.score <= tight.score * (1 + 1e-12)


@every_format
@given(seed=seeds, size=sizes)
def test_together_is_as_alone(form: Format, seed: int, size: int) -> None:
    value, spread = draw(seed, 3, size), draw(seed + 1, 3, size).abs() * form.unit_roundoff
    some = value + draw(seed + 2, 3, size) * form.unit_roundoff * torch.tensor([[1.0], [10.0], [100.0]])
    times = [1.0, 4.0, 2.0]
    together = score_gradients(some, reference(value, spread=spread), form=form, growth=times)
    for i in range(3):
        alone = score(some[i], reference(value[i], spread=spread[i]), form, times[i])
        assert together[i].score == pytest.approx(alone.score, rel=1e-12)
        assert together[i].verdict is alone.verdict


@pytest.mark.parametrize(
    ("errors", "form", "largest"),
    [
        ([0.3, 0.0, 0.0, 0.0], F32, 0),  # one element: the peak decides
        ([0.1, 0.1, -0.1, 0.1], F32, 1),  # all of them: the root of the mean square
        ([0.1, -0.1, 0.1, -0.1], BF16, 2),  # all with the sign of their element: the bias
    ],
)
def test_the_score_is_the_largest_of_three_quotients(errors: list[float], form: Format, largest: int) -> None:
    value = torch.tensor([1.0, -2.0, 0.5, -1.0], dtype=torch.float64)
    truth = reference(value, spread=torch.tensor([0.0, 0.01, 0.02, 0.03]).to(torch.float64), baseline=0.025)
    units = torch.tensor(errors, dtype=torch.float64) / allowed(truth, form)
    peak = float(units.abs().max()) / C
    rms = float(units.square().mean().sqrt()) / (RMS_LIMIT + (C - RMS_LIMIT) / 2)
    bias = abs(float((units * value.sign()).mean())) / bias_limit(4)
    quotients = [peak, rms, bias if form.precision < 24 else 0.0]
    assert quotients.index(max(quotients)) == largest
    got = value + torch.tensor(errors, dtype=torch.float64)
    assert score(got, truth, form, 2.0).score == pytest.approx(max(quotients) / 2)


def test_a_spread_of_zero_is_raised_to_the_rms_of_all() -> None:
    value = torch.ones(4, dtype=torch.float64)
    truth = reference(value, spread=torch.tensor([0.0, 0.0, 0.0, 0.2], dtype=torch.float64))
    got = value + torch.tensor([0.1, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert score(got, truth).score == pytest.approx(1 / C, rel=1e-5)


BAD = [
    ("1", "nan"), ("1", "inf"), ("1", "-inf"), ("inf", "1"), ("nan", "1"), ("inf", "-inf"), ("inf", "nan"),
    ("nan", "inf"), ("0", "nan"), ("0", "inf"), ("nan", "0"),
]  # fmt: skip


@every_format
@pytest.mark.parametrize(("expected", "got"), BAD)
def test_another_pattern_of_what_is_not_finite_is_a_failure(form: Format, expected: str, got: str) -> None:
    value = torch.ones(50, dtype=torch.float64)
    value[7] = float(expected)
    found = value.clone()
    found[7] = float(got)
    judged = score(found, reference(value, spread=1.0, baseline=1.0), form, 100.0)
    assert judged.score == math.inf
    assert judged.verdict is Verdict.FAIL


@every_format
@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_the_same_that_is_not_finite_passes(form: Format, number: str) -> None:
    value = torch.tensor([1.0, float(number), 2.0], dtype=torch.float64)
    assert score(value.clone(), reference(value), form).score == 0


def test_infinities_of_both_signs_do_not_cancel_in_the_mean() -> None:
    value = torch.ones(2, dtype=torch.float64)
    got = torch.tensor([math.inf, -math.inf], dtype=torch.float64)
    assert score(got, reference(value), BF16).score == math.inf


@pytest.mark.parametrize("got", [1.0, 1e9, math.inf, math.nan])
@pytest.mark.parametrize(("excuse", "said"), [("spread", Verdict.ILLPOSED), ("baseline", Verdict.FORMULA)])
def test_where_honest_runs_disagree_whether_there_is_a_number_none_is_wrong(
    excuse: str, said: Verdict, got: float
) -> None:
    value = torch.ones(3, dtype=torch.float64)
    truth = reference(value, **{excuse: torch.tensor([0.0, math.inf, 0.0])})
    found = torch.tensor([1.0, got, 1.0], dtype=torch.float64)
    assert verdict(found, truth) is said


def test_beside_an_element_without_an_answer_the_others_are_judged() -> None:
    value = torch.ones(3, dtype=torch.float64)
    truth = reference(value, spread=torch.tensor([0.0, math.inf, 0.0]))
    assert verdict(torch.tensor([1.0, 5.0, 1.1], dtype=torch.float64), truth) is Verdict.FAIL


@given(seed=seeds, size=sizes)
def test_what_only_the_baseline_excuses_is_the_formula_s_fault(seed: int, size: int) -> None:
    value = draw(seed, size)
    got = value * (1 + 1e-3)
    assert verdict(got, reference(value)) is Verdict.FAIL
    assert verdict(got, reference(value, baseline=1e-3 * value.abs())) is Verdict.FORMULA
    assert verdict(value, reference(value, baseline=1e-3 * value.abs())) is Verdict.PASS  # a device without the fault


def test_half_of_what_is_allowed_is_a_warning() -> None:
    value = torch.ones(1, dtype=torch.float64)
    truth = reference(value, spread=1e-3)
    unit = float(allowed(truth, F32))
    found = [verdict(value + C * part * unit, truth) for part in (0.49, 0.51, 0.99, 1.01)]
    assert found == [Verdict.PASS, Verdict.WARN, Verdict.WARN, Verdict.FAIL]


@pytest.mark.parametrize("elements", [100, 1000, 10_000])
def test_a_bias_of_one_percent_fails_in_bfloat16_and_random_errors_of_that_size_pass(elements: int) -> None:
    value = draw(0, elements)
    sign = draw(1, elements).sign()
    assert verdict(value * 1.01, reference(value), BF16) is Verdict.FAIL
    assert not verdict(value * (1 + 0.01 * sign), reference(value), BF16).is_failure


@pytest.mark.parametrize("form", [BF16, F16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_bias_of_two_units_of_a_narrow_dtype_fails_over_a_thousand_elements(form: Format, sign: int) -> None:
    value = draw(0, 1000)
    error = 2 * form.unit_roundoff * value * sign
    assert verdict(value + error, reference(value), form) is Verdict.FAIL
    assert verdict(value + error * draw(1, 1000).sign(), reference(value), form) is Verdict.PASS


def test_float32_has_no_test_of_bias() -> None:
    value = draw(0, 10_000)
    got = value * (1 + 1.9 * F32.unit_roundoff)
    assert score(got, reference(value), F32).score == pytest.approx(1.9 / (RMS_LIMIT + (C - RMS_LIMIT) / 100), rel=1e-3)


@pytest.mark.parametrize(
    ("terms", "uniform", "times"),
    [(1, False, 1), (256, False, 1), (1024, False, 2), (25_600, False, 10), (1, True, 1), (32, True, 1), (64, True, 2),
     (256, True, 8), (25_600, True, 800)],
)  # fmt: skip
def test_limits_grow_with_the_root_of_a_sum_and_with_all_of_a_uniform_one(
    terms: int, uniform: bool, times: float
) -> None:
    assert growth(terms, uniform=uniform) == times


def test_a_longer_reduction_is_allowed_more() -> None:
    value = torch.ones(1, dtype=torch.float64)
    truth = reference(value)
    got = value * (1 + 1.5 * C * F32.unit_roundoff)
    assert verdict(got, truth, F32, growth(256, uniform=False)) is Verdict.FAIL
    assert verdict(got, truth, F32, growth(1024, uniform=False)) is not Verdict.FAIL


def test_bits_are_the_median_of_those_that_are_right() -> None:
    value = torch.tensor([1.0, -2.0, 0.0, 4.0], dtype=torch.float64)
    got = torch.tensor([1 + 2.0**-5, -2 - 2.0**-7, 0.0, 4 + 2.0**-10], dtype=torch.float64)
    assert score(got, reference(value)).bits == 8  # of 5, 8 and 12; zero has none
    assert score(-value, reference(value)).bits == 0
    nothing = torch.zeros(2, dtype=torch.float64)
    assert score(nothing, reference(nothing), F16).bits == 11


def test_an_empty_gradient_passes() -> None:
    empty = torch.zeros(0, 3, dtype=torch.float64)
    assert verdict(empty, reference(empty), BF16) is Verdict.PASS


def test_a_scalar_gradient_is_one_element() -> None:
    one = torch.tensor(1.0, dtype=torch.float64)
    assert verdict(one + 1e-3, reference(one)) is Verdict.FAIL
    assert verdict(one + 1e-8, reference(one)) is Verdict.PASS


@pytest.mark.parametrize(
    ("units", "spread", "times", "beyond"),
    [(15, 0, 1, False), (17, 0, 1, True), (17, 1, 1, False), (34, 1, 1, True), (17, 0, 2, False), (34, 0, 2, True)],
)
def test_a_baseline_beyond_rounding_is_noticed(units: int, spread: int, times: float, beyond: bool) -> None:
    truth = reference(
        torch.ones(4, dtype=torch.float64), baseline=units * F32.unit_roundoff, spread=spread * F32.unit_roundoff
    )
    assert is_beyond_rounding(truth, form=F32, growth=times) is beyond


FAILURES = {Verdict.NONDET, Verdict.FAIL, Verdict.CRASH}


@pytest.mark.parametrize("said", Verdict)
def test_only_the_machine_s_faults_are_failures(said: Verdict) -> None:
    assert said.is_failure is (said in FAILURES)


def test_the_worst_of_several_verdicts_is_a_failure_where_one_is() -> None:
    assert worst([]) is Verdict.PASS
    assert worst([Verdict.WARN, Verdict.PASS]) is Verdict.WARN
    assert sorted(Verdict, key=badness) == list(Verdict)
    for good in set(Verdict) - FAILURES:
        for bad in FAILURES:
            assert worst([good, bad]) is worst([bad, good]) is bad
