"""The secret leaf and what is read of an answer."""

import json

import numpy as np
import pytest
import torch

from lab.device import DTYPES
from lab.practise import AnswerError, Trial, read_answer, read_number
from lab.practise.trial import Observation, Raised


def trial(dtype="float64", factor=-2.5):
    return Trial({"x": 1.5}, factor, dtype, "cpu")


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_secret_meets_backward_and_grad(dtype):
    x = trial(dtype).leaf("x")
    assert x.is_leaf
    assert x.dtype == getattr(torch, dtype)
    assert torch.autograd.grad(x**2, x)[0].item() == -7.5
    (x**2).backward()
    (x**2).backward()
    assert x.grad.item() == -15


def test_the_secret_is_missed_without_the_graph():
    x = trial().leaf("x")
    assert (2 * x).item() == 3
    assert torch.func.grad(lambda x: x**2)(x).item() == 3


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (torch.tensor(2.5), 2.5),
        (torch.tensor(2.5, requires_grad=True), 2.5),
        (torch.tensor(3, dtype=torch.int64), 3.0),
        (np.float32(2.5), 2.5),
        (np.array(2.5), 2.5),
        (3, 3.0),
        (2.5, 2.5),
        (None, None),
        (True, "a bool"),
        ("2.5", "a str"),
        (torch.zeros(1), "a tensor of shape (1,)"),
        (torch.zeros(2, 3), "a tensor of shape (2, 3)"),
        (torch.tensor(1j), "a tensor of shape ()"),
    ],
)
def test_a_number_is_read_or_described(answer, number):
    read = read_number(answer)
    assert read == number
    assert type(read) is type(number)


@pytest.mark.parametrize("answer", [None, 4.0, torch.tensor(4.0), (4.0,), (1, 2, 3), torch.zeros(3)])
def test_another_count_is_no_answer(answer):
    with pytest.raises(AnswerError, match="Expected 2 values: a, b"):
        read_answer(answer, "a", "b")


@pytest.mark.parametrize("answer", [(4, 27), [4.0, torch.tensor(27.0)], torch.tensor([4.0, 27.0])])
def test_the_right_count_is_an_answer(answer):
    assert read_answer(answer, "a", "b") == {"a": 4.0, "b": 27.0}


@pytest.mark.parametrize(
    "observation",
    [
        Observation({"a": 1.5, "b": None, "c": True, "d": "a str"}),
        Observation({}, Raised("ValueError", "text", 3)),
        Observation({}, Raised("ValueError", "text", None)),
    ],
)
def test_an_observation_survives_the_pipe(observation):
    assert Observation.from_json(json.loads(json.dumps(observation.to_json()))) == observation


@pytest.mark.parametrize("data", [{}, {"values": {}}, {"values": 1, "raised": None}, {"values": {}, "raised": {}}])
def test_what_is_no_observation_is_refused(data):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Observation.from_json(data)
