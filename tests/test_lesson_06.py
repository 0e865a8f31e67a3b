"""Lesson 06: its claims hold wherever it may be asked, and its training drifts no further than it says."""

import json
import os
import subprocess
import sys

import pytest
from fixtures.lessons import performed

from lab.teach.lessons import find_lesson

LESSON = find_lesson("06")
LOOPS = ("w, own module", "b, own module", "w, nn.Linear", "b, nn.Linear")


def off(record, *names):
    return [c["ulps"] for name in names for c in record.comparisons if c["name"] == name]


# Hardly a step; near the limit on both sides; run away, to inf and nan. Few trips, without scatter, and many.
@pytest.mark.parametrize(
    ("dtype", "lr", "epochs", "samples", "noise", "optimizer"),
    [
        ("float64", 0.0001, 3, 5, 0, "sgd"),
        ("bfloat16", 0.11, 400, 20, 2, "momentum"),
        ("float16", 0.13, 60, 7, 0.5, "adam"),
        ("float32", 1, 51, 5, 2, "sgd"),
        ("float16", 1, 51, 5, 2, "sgd"),
        ("float64", 0.05, 1, 1000, 0.1, "momentum"),
    ],
)
def test_it_is_right_wherever_it_may_be_asked(dtype, lr, epochs, samples, noise, optimizer) -> None:
    given = {"lr": lr, "epochs": epochs, "samples": samples, "noise": noise, "optimizer": optimizer, "seed": 3}
    record = performed(LESSON, **given, dtype=dtype, device="cpu")
    assert {c["verdict"] for c in record.comparisons} == {"pass"}
    assert list(record.pictures) == ["fit", "path", "steps", "drift"]


# Not float16: in 1 of 60 fits (lr 0.1, 200 epochs, 20 samples) the two losses round 1/N differently.
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_both_loops_end_at_the_same_bits_on_the_cpu(dtype) -> None:
    for seed in (0, 1):
        record = performed(LESSON, dtype=dtype, seed=seed, epochs=200, device="cpu")
        assert off(record, *LOOPS[:2]) == [0, 0]
        assert len(off(record, *LOOPS)) == 4


def test_training_ends_at_the_least_squares_line(capsys) -> None:
    performed(LESSON, dtype="float64", epochs=3000, device="cpu")
    (said,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("to the least-squares"))
    descent, theory = (float(word.split()[1]) for word in said.partition(": ")[2].split(", "))
    assert descent < 1e-10
    assert theory < 1e-10


def test_a_learning_rate_that_is_too_large_is_told_and_nothing_is_compared_with_it(capsys) -> None:
    record = performed(LESSON, lr=1, epochs=60, device="cpu")
    told = capsys.readouterr().out
    assert "the loss has grown: lr = 1 is too large, see part 5" in told
    assert told.count("w and b ran away: there is nothing to compare") == 4
    assert off(record, *LOOPS) == []
    assert "the drift never exceeds the tolerance" not in {claim["sentence"] for claim in record.claims}


def test_the_optimizer_that_is_chosen_is_the_one_whose_loss_is_recorded() -> None:
    records = [performed(LESSON, optimizer=name, epochs=20, device="cpu") for name in ("sgd", "momentum", "adam")]
    losses = [c["value"] for record in records for c in record.comparisons if c["name"] == "L, trained"]
    assert len(set(losses)) == 3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_another_machine_drifts_no_further_than_the_tolerance(dtype, tmp_path) -> None:
    """ATEN_CPU_CAPABILITY=default is a CPU without vector instructions: other kernels, which add in another order."""
    command = [sys.executable, "-m", "lab", "lesson", "06", "--device", "cpu", "--dtype", dtype, "--json"]
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    words = [*command, "-p", "epochs=300", "-p", "samples=100", "--outputs", str(tmp_path)]
    there = json.loads(subprocess.run(words, capture_output=True, check=True, env=environment).stdout)
    here = performed(LESSON, dtype=dtype, epochs=300, samples=100, device="cpu")
    for name in ("w at epoch 300", "b at epoch 300"):
        (mine,), (other,) = (
            [c for c in rows if c["name"] == name] for rows in (here.comparisons, there["comparisons"])
        )
        assert mine["reference"] == pytest.approx(other["reference"], rel=1e-12)
        assert abs(mine["value"] - other["value"]) <= mine["tolerance"]
