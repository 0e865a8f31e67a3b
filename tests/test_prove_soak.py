from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pebble import ProcessExpired

from lab.prove.backend import Backend
from lab.prove.case import Chunk, Selection
from lab.prove.faults import FAULTS, Faulty, wrong_by
from lab.prove.soak import digest_chunk, soak
from lab.prove.verify import Target

AXES = (("size", ("small", "odd")), ("cotangent", ("dense",)))
CHUNKS = Selection(("mul", "add", "index_add"), ("float32",), AXES).chunks()


pytestmark = pytest.mark.usefixtures("one_thread", "same_flips")


class Here(Executor):
    """An executor that runs a task at once, in this process."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.given.append(args[0].id)
        future.set_result(fn(*args, **kwargs))
        return future


class Dying(Executor):
    """An executor whose worker dies every second time."""

    def __init__(self) -> None:
        self._times = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._times += 1
        if self._times % 2:
            future.set_result(fn(*args, **kwargs))
        else:
            future.set_exception(ProcessExpired("gone", code=1))
        return future


def repeat(
    target: Target, *, chunks: list[Chunk] = CHUNKS, executor: Executor | None = None, minutes: float = 0.0
) -> dict[str, Any]:
    """Soak for two rounds, or for so many minutes."""
    return soak(chunks, target, executor or Here(), minutes=minutes, on_round=lambda _: None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes whenever the time is asked for."""
    monkeypatch.setattr("lab.prove.soak.time", SimpleNamespace(monotonic=count().__next__))


def of(op: str) -> list[Chunk]:
    return [chunk for chunk in CHUNKS if chunk.op == op]


def test_a_healthy_device_gives_the_same_bits_again() -> None:
    cases = sum(len(chunk.cases) for chunk in CHUNKS)
    assert repeat(Target()) == {"minutes": 0.0, "rounds": 2, "cases": cases, "runs": 2 * cases, "differing": {}}


def test_a_flaky_device_shows_which_cases_changed() -> None:
    differing = repeat(Target(backend=FAULTS["flaky"]))["differing"]
    assert differing
    assert differing.keys() <= {case.id for case in of("mul")[0].cases}


@pytest.mark.usefixtures("clock")
def test_each_round_that_differs_from_the_first_is_counted() -> None:
    contexts = count()
    ages = Backend("test", "", context=lambda: Faulty(["mul"], wrong_by(1e-3 * next(contexts))), simulated=True)
    found = repeat(Target(backend=ages), chunks=of("mul"), minutes=0.2)
    assert found["rounds"] > 3
    assert found["differing"] == {case.id: found["rounds"] - 1 for case in of("mul")[0].cases}
    assert list(found["differing"]) == sorted(found["differing"])


def test_what_adds_in_no_fixed_order_is_left_out_where_there_are_several_threads() -> None:
    one, two = Here(), Here()
    repeat(Target(), executor=one)
    repeat(Target(backend=Backend("test", "", threads=2)), executor=two)
    assert {chunk.id for chunk in CHUNKS} == set(one.given)
    assert set(one.given) - set(two.given) == {"index_add//float32"}


def test_a_worker_that_dies_once_in_a_while_is_a_difference() -> None:
    found = repeat(Target(), chunks=of("mul"), executor=Dying())
    assert found["differing"] == dict.fromkeys(sorted(case.id for case in of("mul")[0].cases), 1)


def test_an_exception_that_is_always_there_is_no_difference() -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError

    target = Target(backend=Backend("test", "", context=lambda: Faulty(["mul"], fail), simulated=True))
    assert set(digest_chunk(of("mul")[0], target).values()) == {"RuntimeError"}
    assert repeat(target)["differing"] == {}


@pytest.mark.usefixtures("clock")
def test_rounds_go_on_until_the_time_is_over() -> None:
    rounds: list[int] = []
    found = soak(of("add"), Target(), Here(), minutes=0.5, on_round=rounds.append)
    assert rounds == list(range(1, found["rounds"] + 1))
    assert found["rounds"] > 2
    assert 2 * found["cases"] < found["runs"] <= 30 * found["cases"]  # a chunk a second at most


@pytest.mark.usefixtures("clock")
def test_where_nothing_can_be_repeated_nothing_is() -> None:
    target = Target(backend=Backend("test", "", threads=2))
    found = repeat(target, chunks=of("index_add"), minutes=1)
    assert (found["rounds"], found["cases"], found["runs"]) == (2, 0, 0)


def test_the_sign_of_a_zero_changes_a_digest() -> None:
    def negative(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = func(*args, **kwargs)
        return torch.where(x == 0, -0.0, x)

    (chunk,) = Selection(("masked_fill",), ("float32",), AXES).chunks()
    target = Target(backend=Backend("test", "", context=lambda: Faulty(["masked_fill"], negative), simulated=True))
    assert digest_chunk(chunk, target) != digest_chunk(chunk, Target())
