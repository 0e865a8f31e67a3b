"""What is told of an answer that is none of the known mistakes."""

import pytest
import torch

from lab.practise import Status, check


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: (4, 27), "raised TypeError: <lambda>() takes 0 positional arguments but 2 were given"),
        (lambda x, y: None, "It returned None. Is there a return? Expected 2 values: dz/dx, dz/dy."),
        (lambda x, y: x, "It returned a tensor of shape (). Expected 2 values: dz/dx, dz/dy."),
        (lambda x, y: (x, y, x), "It returned 3 values. Expected 2 values: dz/dx, dz/dy."),
        (lambda x, y: ("four", True), "dz/dx is a str. Expected a single number, such as 4."),
        (lambda x, y: (x.reshape(1), y), "dz/dx is a tensor of shape (1,). Expected a single number, such as 4."),
        (lambda x, y: (x, None), "dz/dy is None. A .grad is None until a backward()"),
        (
            lambda x, y: (x * float("nan"), y / 0),
            "At x = 2, y = 3: dz/dx: nan, expected 4; dz/dy: inf, expected 27.",
        ),
        (lambda x, y: (0, 1), "Right nowhere: you return 0, 1 whatever the inputs are."),
        (
            lambda x, y: (x / 7, y / 7),
            "At x = 2, y = 3: dz/dx: 0.285714, expected 4; dz/dy: 0.428571, expected 27.",
        ),
        (lambda x, y: torch.autograd.grad(x**2, y), "The result was not computed from this tensor"),
    ],
)
def test_what_is_not_known_is_told_as_it_is(answer, told):
    judgement = check("05/ex01", answer, seed=0)
    assert judgement.status is Status.WRONG
    assert told in judgement.diagnosis
    assert judgement.mistake == ""


def test_what_is_right_at_the_lessons_point_only_is_shown_with_its_secret():
    def twice_the_value(x, y):
        (y**3).backward()
        return x * 2 + (x - 2), y.grad

    told = check("05/ex01", twice_the_value, seed=0).diagnosis
    assert "(where gradients reach the inputs multiplied by a secret 1.5)" in told
    assert "dz/dx: 5.875, expected 7.875" in told
    assert "dz/dy" not in told


def test_an_untold_literal_is_told_in_the_exercise_that_forgot_it():
    told = check("05/ex03", lambda f, x: torch.tensor(12.0), seed=0).diagnosis
    assert told.startswith("Right at x = 2, w = 3 and nowhere else: you return 12 whatever the inputs are.")


def test_a_near_miss_is_no_finite_difference():
    def nearly(x, y):
        z = x**2 + y**3
        z.backward()
        return x.grad * 1.001, y.grad

    judgement = check("05/ex01", nearly, seed=0)
    assert judgement.status is Status.WRONG
    assert judgement.mistake == ""
    assert "dz/dx: 4.004, expected 4." in judgement.diagnosis
