"""One row of bench/verify.py, measured in a process of its own; prints it as JSON. Not called by hand."""

from __future__ import annotations

import json
import sys
import time
import unittest
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from lab.compare import FORMATS
from lab.prove.backend import PLAIN, Backend
from lab.prove.blame import find_blame, record_calls
from lab.prove.case import ROWS, Case, Chunk, Selection, plainest
from lab.prove.faults import FAULTS, _with_nan, on_results, one_kernel, stride_blind, wrong_by
from lab.prove.gradient import differentiate, place_case
from lab.prove.machines import find_backend
from lab.prove.numbers import draw_numbers
from lab.prove.probes import run_probes
from lab.prove.rule import growth, score_gradients
from lab.prove.truth import find_references
from lab.prove.verify import Target, quiet, verify_chunk

CPU = torch.device("cpu")
KERNELS = 40  # at most, those that most operations use
BLAMED = 10  # flagged cases of each kernel that are replayed
SPOILERS = {
    "1e-4": wrong_by(1e-4),
    "1e-5": wrong_by(1e-5),
    "1e-6": wrong_by(1e-6),
    "nan": on_results(_with_nan),
    "stride-blind": stride_blind,
}
NOT_COMPUTING = ("empty", "zeros", "ones", "full", "new_", "copy_", "_to_copy", "clone", "detach", "bernoulli", "fill_")


@dataclass(frozen=True, eq=False)
class Gradient:
    """One gradient of one case. number: of the input."""

    case: Case
    number: int
    value: Tensor


def chunks(*sizes: str) -> list[Chunk]:
    return Selection(dtypes=("float32",), axes=(("size", sizes),) if sizes else ()).chunks()


def gradients(chunk: Chunk, backend: Backend) -> list[Gradient]:
    """Run the cases of a chunk once."""
    target = Target(backend=backend)
    row, numbers = target.row(chunk.op), {case: draw_numbers(case.problem) for case in chunk.cases}
    found = []
    with quiet(), backend.context():
        for case in chunk.cases:
            placed = place_case(case, numbers[case], CPU)
            try:
                values = differentiate(row, case, placed)
            except RuntimeError:  # a spoilt factorisation may be no factorisation
                continue
            found += [Gradient(case, number, x) for (number, _), x in zip(placed.leaves, values, strict=True)]
    return found


def lab_flags(gradient: Gradient, *, with_baseline: bool) -> float:
    """Return the score of the lab's rule."""
    problem, row = gradient.case.problem, ROWS[gradient.case.op]
    place = [i for i, given in enumerate(row.inputs) if given.differentiable].index(gradient.number)
    reference = find_references(problem, with_baseline=with_baseline)[place]
    limits = growth(row.longest_reduction(problem.size), uniform=problem.uniform)
    form = FORMATS[gradient.value.dtype]
    (score,) = score_gradients(gradient.value.to(torch.float64)[None], reference, form=form, growth=limits)
    return score.score


def assert_close_flags(got: Tensor, healthy: Tensor) -> bool:
    try:
        torch.testing.assert_close(got, healthy, equal_nan=True)
    except AssertionError:
        return True
    return False


def same_flags(got: Tensor, healthy: Tensor, gradient: Gradient) -> bool:
    """Ask Dynamo's same(), with its float64 reference, as its accuracy checks do."""
    from torch._dynamo.utils import same

    row = ROWS[gradient.case.op]
    place = [i for i, given in enumerate(row.inputs) if given.differentiable].index(gradient.number)
    truth = find_references(gradient.case.problem, with_baseline=False)[place].value
    return not same(healthy, got, fp64_ref=truth, equal_nan=True, tol=1e-4)


def alarms(name: str) -> dict:
    backend = find_backend(name)
    torch.set_num_threads(backend.threads)
    row, worst = Counter(), (0.0, "")
    for chunk in chunks():
        healthy = gradients(chunk, PLAIN) if name != "plain" else None
        for i, gradient in enumerate(gradients(chunk, backend)):
            score = lab_flags(gradient, with_baseline=False)
            worst = max(worst, (score, gradient.case.id))
            row["compared"] += 1
            row["lab"] += score > 1
            # Beside itself the plain CPU cannot differ: its peer is the stored one, which only the lab has.
            if healthy is not None:
                row["assert_close"] += assert_close_flags(gradient.value, healthy[i].value)
                row["same"] += same_flags(gradient.value, healthy[i].value, gradient)
    named = {key: row[key] for key in ("compared", "assert_close", "same", "lab")}
    return {**named, "worst": f"highest {worst[0]:.2f}, {worst[1]}"}


def compare(healthy: list[Gradient], faulty: list[Gradient], row: Counter) -> Iterator[Gradient]:
    """Count what each rule flags of what changed; yield what the lab flags."""
    known = {(gradient.case, gradient.number): gradient.value for gradient in healthy}
    for gradient in faulty:
        right = known[gradient.case, gradient.number]
        if torch.equal(gradient.value, right):
            continue
        row["changed"] += 1
        row["assert_close"] += assert_close_flags(gradient.value, right)
        row["same"] += same_flags(gradient.value, right, gradient)
        if lab_flags(gradient, with_baseline=True) > 1:
            row["lab"] += 1
            yield gradient


def detection(name: str) -> dict:
    if name == "flush":
        probes = [p for p in run_probes(Target(backend=FAULTS["flush"])) if p.kind == "subnormals"]
        return {"changed": 0, "note": f"{sum(not p.passed for p in probes)} of {len(probes)} probes see it"}
    row = Counter(changed=0, assert_close=0, same=0, lab=0)
    if name in FAULTS:
        for chunk in chunks():
            list(compare(gradients(chunk, PLAIN), gradients(chunk, FAULTS[name]), row))
        return dict(row)
    spoil = SPOILERS[name.partition(": ")[2]]
    exposed, changing = Counter(), set()
    for kernel, users in kernels_and_users():
        before = row["changed"]
        for chunk in users:
            for gradient in compare(gradients(chunk, PLAIN), gradients(chunk, one_kernel(kernel, spoil)), row):
                exposed[kernel] += 1
                del gradient
        changing |= {kernel} if row["changed"] > before else set()
    return {**row, "note": f"{sum(k in exposed for k in changing)} of {len(changing)} kernels exposed"}


def kernels_and_users() -> list[tuple[str, list[Chunk]]]:
    """Return the kernels that most chunks use, with the small and odd chunks that use them."""
    users: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks("small", "odd"):
        names = {
            call.func._schema.name.partition("::")[2]
            for call in record_calls(chunk.cases[0], Target())
            if any(x.is_floating_point() for x in call.results) and not call.func._schema.is_mutable
        }
        for name in names:
            if not name.startswith(NOT_COMPUTING):
                users[name].append(chunk)
    ordered = sorted(users.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(name, of_kernel[:12]) for name, of_kernel in ordered[:KERNELS]]


def blame(name: str) -> dict:
    row, kernels = Counter(flagged=0, right=0, wrong=0, none=0), 0
    for kernel, users in kernels_and_users():
        target = Target(backend=one_kernel(kernel, SPOILERS[name]))
        flagged: list[Case] = []
        for chunk in users:
            found = compare(gradients(chunk, PLAIN), gradients(chunk, target.backend), Counter())
            flagged += dict.fromkeys(gradient.case for gradient in found)
        kernels += bool(flagged)
        for case in flagged[:: max(1, len(flagged) // BLAMED)]:
            found, _ = find_blame(record_calls(case, target), case, target)
            row["flagged"] += 1
            row["none" if found is None else "right" if f"aten.{kernel}." in found.kernel else "wrong"] += 1
    return {**row, "kernels": kernels}


def floor_of(chunk: Chunk) -> float:
    """Return the seconds of the calls that cannot be avoided: forward and backward twice, references not golden."""
    numbers = {case: draw_numbers(case.problem) for case in chunk.cases}
    placed = {case: place_case(case, numbers[case], CPU) for case in chunk.cases}
    problems = {case.problem for case in chunk.cases if case.size == "large" and not ROWS[case.op].pointwise}
    find_references.cache_clear()
    start = time.perf_counter()
    for _ in range(2):
        for case, tensors in placed.items():
            differentiate(ROWS[case.op], case, tensors)
    for problem in problems:
        find_references(problem, with_baseline=False)
    return time.perf_counter() - start


def total_of(chunk: Chunk) -> float:
    find_references.cache_clear()
    draw_numbers.cache_clear()
    start = time.perf_counter()
    verify_chunk(chunk, Target())
    return time.perf_counter() - start


def timed(of: list[Chunk]) -> tuple[float, float]:
    """Return the floor and the total, alternating, the second of two rounds."""
    for _ in range(2):
        pairs = [(floor_of(chunk), total_of(chunk)) for chunk in of]
    return sum(floor for floor, _ in pairs), sum(total for _, total in pairs)


def peer_test(case: Case) -> type:
    """Return PyTorch's own test case class with one test: gradients in float32 beside those in float64."""
    from torch.testing._internal.common_utils import TestCase

    def test(self: TestCase) -> None:
        row, numbers = ROWS[case.op], draw_numbers.__wrapped__(case.problem)
        placed = place_case(case, numbers, CPU)
        got = differentiate(row, case, placed)
        wide = place_case(case, type(numbers)(*(_wide(xs) for xs in (numbers.inputs, numbers.cotangents))), CPU)
        for one, other in zip(got, differentiate(row, case, wide), strict=True):
            self.assertEqual(one, other.to(one.dtype), atol=1e-2, rtol=1e-2)  # noqa: PT009  # it is what is timed

    return type("TestGradient", (TestCase,), {"test_gradient": test})


def _wide(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.to(torch.float64) if x.is_floating_point() else x for x in tensors)


def gradcheck(case: Case) -> None:
    """Check a case as PyTorch's tests of gradients do: numerically, in float64, in fast mode."""
    row, numbers = ROWS[case.op], draw_numbers(case.problem)
    wide = place_case(case, type(numbers)(*(_wide(xs) for xs in (numbers.inputs, numbers.cotangents))), CPU)
    with suppress(RuntimeError):  # of a few operations two runs draw two masks; the time counts all the same
        torch.autograd.gradcheck(lambda *xs: row.function(*xs, **row.samples[case.sample]), wide.inputs, fast_mode=True)


def timing(_: str) -> dict:
    everything, golden = chunks(), chunks("small", "odd")
    floor, total = timed(everything)
    golden_floor, golden_total = timed(golden)
    some = golden[::4]
    suite = unittest.TestSuite(peer_test(case)("test_gradient") for chunk in some for case in chunk.cases)
    start = time.perf_counter()
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)
    peer = time.perf_counter() - start
    plain = [case for chunk in some for case in chunk.cases if case == plainest(case)]
    with quiet():
        gradcheck(plain[0])  # imports what it needs
        start = time.perf_counter()
        for case in plain:
            gradcheck(case)
        numeric = time.perf_counter() - start
    count = lambda listed: sum(len(chunk.cases) for chunk in listed)  # noqa: E731  # a word for a sum
    return {
        "cases": count(everything), "floor": floor, "total": total,
        "golden_cases": count(golden), "golden_floor": golden_floor, "golden_total": golden_total,
        "numeric": numeric, "numeric_cases": len(plain),
        "peer": peer, "peer_cases": result.testsRun, "peer_ours": sum(map(total_of, some)),
    }  # fmt: skip


if __name__ == "__main__":
    table, name = sys.argv[1:]
    torch.set_num_threads(1)
    print(json.dumps({"alarms": alarms, "detection": detection, "blame": blame, "time": timing}[table](name)))
