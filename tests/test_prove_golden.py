"""The golden file: what it loses on the way, how it is refused, and that it is not stale."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lab.compare import FORMATS
from lab.device import DTYPES, environment
from lab.errors import StorageError
from lab.prove.case import ROWS, Problem
from lab.prove.golden import PATH, Golden, load_golden, pack_golden
from lab.prove.numbers import draw_numbers
from lab.prove.reference import Reference, measure_reference
from lab.prove.rule import growth, score_gradients
from lab.prove.truth import find_references, golden, golden_problems

MM = Problem("mm", "", "float32", "small", False, False, 0)


pytestmark = pytest.mark.usefixtures("one_thread")


def packed(
    folder: Path, problem: Problem, *references: Reference, formulas: tuple[tuple[str, str, str], ...] = ()
) -> Path:
    """Write a golden file that holds one problem."""
    arrays = [(x.value.numpy(), x.spread.numpy(), x.baseline.numpy()) for x in references]
    path = folder / "golden.npz"
    path.write_bytes(pack_golden({problem: arrays}, set(formulas), {"torch": "some"}))
    return path


def stored(folder: Path, problem: Problem, *references: Reference) -> tuple[Reference, ...]:
    """Return references after a journey through the file."""
    found = load_golden(packed(folder, problem, *references)).find(problem)
    assert found is not None
    return found


def doubles(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


numbers = st.floats(-(2.0**1000), 2.0**1000)
distances = st.floats(0, 2.0**1000)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=30)
@given(row=st.lists(st.tuples(numbers, distances, distances), min_size=1, max_size=8))
def test_values_keep_eight_bits_beyond_the_dtype_and_distances_grow_a_little(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, row: list[tuple[float, float, float]]
) -> None:
    value, spread, baseline = (doubles(*column) for column in zip(*row, strict=True))
    problem = replace(MM, dtype=dtype)
    (found,) = stored(tmp_path_factory.mktemp("golden"), problem, Reference(value, spread, baseline))
    bits = min(FORMATS[getattr(torch, dtype)].precision + 8, 53)
    assert bool(((found.value - value).abs() <= value.abs() * 2.0**-bits).all())
    for was, now in ((spread, found.spread), (baseline, found.baseline)):
        assert bool((now >= was * (1 - 2.0**-50)).all())  # the logarithm is rounded
        assert bool((now <= was * 1.05).all())


def test_what_is_not_finite_and_zero_come_back_as_they_were(tmp_path: Path) -> None:
    value, distance = doubles(torch.inf, -torch.inf, torch.nan, 0.0), doubles(0.0, torch.inf, 5e-324, 1.0)
    (found,) = stored(tmp_path, MM, Reference(value, distance, distance.flip(0)))
    torch.testing.assert_close(found.value, value, rtol=0, atol=0, equal_nan=True)
    assert found.spread[:2].tolist() == [0.0, torch.inf]
    assert found.baseline[2:].tolist() == [torch.inf, 0.0]


def test_shapes_come_back_also_of_a_scalar_and_of_nothing(tmp_path: Path) -> None:
    shapes = [(2, 3), (), (0, 4), (5,)]
    references = [Reference(*(torch.full(shape, float(i), dtype=torch.float64),) * 3) for i, shape in enumerate(shapes)]
    found = stored(tmp_path, MM, *references)
    assert [tuple(x.value.shape) for x in found] == shapes
    assert [x.value.flatten()[:1].tolist() for x in found] == [[0.0], [1.0], [], [3.0]]


def test_the_same_references_give_the_same_bytes(tmp_path: Path) -> None:
    references = measure_reference(MM)
    once, again = (packed(tmp_path, MM, *references).read_bytes() for _ in range(2))
    assert once == again


def test_formulas_and_facts_come_back(tmp_path: Path) -> None:
    formula = ("mm", "", "float32")
    found = load_golden(packed(tmp_path, MM, *measure_reference(MM), formulas=(formula,)))
    assert found.formulas == {formula}
    assert found.about == {"torch": "some"}
    assert found.problems == [MM]


def test_a_problem_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    file = load_golden(packed(tmp_path, MM, *measure_reference(MM)))
    assert file.find(replace(MM, seed=1)) is None
    assert file.find(replace(MM, op="addmm")) is None


def test_other_numbers_than_those_of_the_file_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = load_golden(packed(tmp_path, MM, *measure_reference(MM)))
    assert file.find(MM) is not None
    x, w = ROWS["mm"].inputs
    monkeypatch.setitem(ROWS, "mm", replace(ROWS["mm"], inputs=(replace(x, high=2.5), w)))  # type: ignore[arg-type]
    draw_numbers.cache_clear()
    try:
        assert file.find(MM) is None
    finally:
        draw_numbers.cache_clear()


def test_a_changed_row_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = replace(MM, op="bmm")
    x, w = ROWS["bmm"].inputs
    monkeypatch.setitem(ROWS, "bmm", replace(ROWS["bmm"], inputs=(replace(x, high=2.5), w)))  # type: ignore[arg-type]
    for cached in (draw_numbers, find_references):
        cached.cache_clear()
    try:
        found, measured = find_references(fresh, with_baseline=True), measure_reference(fresh)
        assert all(torch.equal(a.value, b.value) for a, b in zip(found, measured, strict=True))
    finally:
        for cached in (draw_numbers, find_references):
            cached.cache_clear()


def broken_files() -> Iterator[tuple[str, bytes]]:
    """Yield what a download, a full disk or a merge may leave."""
    whole = PATH.read_bytes()
    yield "empty", b""
    yield "text", b"version https://git-lfs.github.com/spec/v1\n"
    yield "header", whole[:100]
    yield "half", whole[: len(whole) // 2]
    yield "cut", whole[:-1]
    yield "flipped", whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 255]) + whole[len(whole) // 2 + 1 :]


@pytest.mark.parametrize("name", ["empty", "text", "header", "half", "cut", "flipped"])
def test_a_file_that_is_not_whole_is_refused_with_what_to_type(tmp_path: Path, name: str) -> None:
    path = tmp_path / "golden.npz"
    path.write_bytes(dict(broken_files())[name])
    with pytest.raises(StorageError, match="make golden"):
        load_golden(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    np.savez(path, something=np.zeros(3))
    with pytest.raises(StorageError, match="make golden"):
        load_golden(path)


def test_a_missing_file_is_refused_with_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"git checkout lab/prove/golden\.npz"):
        load_golden(tmp_path / "golden.npz")


def test_the_file_is_small() -> None:
    assert PATH.stat().st_size <= 10_000_000


def test_every_problem_is_in_the_file_and_has_the_numbers_that_it_was_measured_with() -> None:
    """Where this fails a row was changed: type 'make golden'."""
    index = golden().index
    wanted = list(golden_problems())
    assert len(wanted) > 5000
    assert sorted(index) == sorted(problem.id for problem in wanted)
    assert [one.id for one in wanted if index[one.id][0] != draw_numbers(one).fingerprint] == []


def sample() -> list[Problem]:
    return random.Random(1).sample(list(golden_problems()), 60)


def accepts(reference: Reference, value: Tensor, problem: Problem) -> bool:
    """Say whether the rule takes a value that was measured here for the one in the file."""
    terms = ROWS[problem.op].longest_reduction(problem.size)
    form, limits = FORMATS[getattr(torch, problem.dtype)], growth(terms, uniform=problem.uniform)
    (found,) = score_gradients(value[None], reference, form=form, growth=limits)
    return found.score <= (1 if problem.dtype == "float64" else 0.1)


def skip_unless(file: Golden, *facts: str) -> None:
    here = environment("cpu")
    for fact in facts:
        if file.about[fact] != here[fact]:
            pytest.skip(f"the file was made with {fact} {file.about[fact]}, here is {here[fact]}")


def test_what_is_measured_here_is_what_the_file_holds() -> None:
    skip_unless(golden(), "torch")
    for problem in sample():
        found = golden().find(problem)
        assert found is not None
        for stored_one, measured in zip(found, measure_reference(problem), strict=True):
            assert accepts(stored_one, measured.value, problem), problem.id
            for name in ("spread", "baseline"):
                once, here = (float(getattr(x, name).amax()) for x in (stored_one, measured))
                floor = FORMATS[getattr(torch, problem.dtype)].unit_roundoff * float(measured.value.abs().amax())
                assert once <= 4 * here + floor, problem.id
                assert here <= 4 * once + floor, problem.id


def test_the_machine_that_made_the_file_measures_it_bit_by_bit(tmp_path: Path) -> None:
    skip_unless(golden(), "torch", "device_name", "switches")
    for problem in sample()[:20]:
        found = golden().find(problem)
        assert found is not None
        for one, again in zip(found, stored(tmp_path, problem, *measure_reference(problem)), strict=True):
            for name in ("value", "spread", "baseline"):
                torch.testing.assert_close(
                    getattr(again, name), getattr(one, name), rtol=0, atol=0, equal_nan=True, msg=problem.id
                )
