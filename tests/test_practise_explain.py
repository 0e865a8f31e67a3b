"""PyTorch's messages, raised anew by the installed version, each met by its explanation."""

import re
import warnings

import pytest
import torch

from lab.practise.explain import MEANINGS, explain
from lab.practise.trial import Raised


def leaf():
    return torch.tensor([2.0, 3.0], requires_grad=True)


def backward_twice():
    y = (leaf() ** 2).sum()
    y.backward()
    y.backward()


def graph_cut():
    torch.tensor(leaf().sum().item()).backward()


def saved_value_modified():
    y = leaf().exp()
    y += 1
    y.sum().backward()


def leaf_in_place():
    x = leaf()
    x += 1


def view_of_leaf_in_place():
    leaf()[0] = 5


def vector_output():
    (leaf() ** 2).backward()


def numpy_of_tracked():
    leaf().numpy()


def integers():
    torch.tensor([1, 2], requires_grad=True)


def integers_later():
    torch.tensor([1, 2]).requires_grad_()


def power_as_xor():
    leaf() ^ leaf()


def context_manager_not_called():
    with torch.no_grad:
        pass


def zero_before_backward():
    leaf().grad.zero_()


def sum_of_none():
    leaf().grad + 1


def inference_tensor():
    with torch.inference_mode():
        y = torch.ones(2)
    (leaf() * y).sum().backward()


def freeze_a_non_leaf():
    (leaf() * 2).requires_grad_(False)


def unused_input():
    torch.autograd.grad((leaf() ** 2).sum(), leaf())


def nobody_answers():
    raise EOFError("EOF when reading a line")


MISHAPS = (
    power_as_xor,
    context_manager_not_called,
    backward_twice,
    graph_cut,
    saved_value_modified,
    leaf_in_place,
    view_of_leaf_in_place,
    vector_output,
    numpy_of_tracked,
    integers,
    integers_later,
    zero_before_backward,
    sum_of_none,
    inference_tensor,
    freeze_a_non_leaf,
    unused_input,
    nobody_answers,
)


def message_of(mishap):
    with warnings.catch_warnings(action="ignore"), pytest.raises(Exception) as caught:  # noqa: PT011  # any
        mishap()
    return Raised(type(caught.value).__name__, str(caught.value), 12)


def first_match(message):
    return next((p for p in MEANINGS if re.search(p, message, re.IGNORECASE)), None)


@pytest.mark.parametrize("mishap", MISHAPS)
def test_the_installed_version_says_what_we_explain(mishap):
    raised = message_of(mishap)
    told = explain(raised, "ex.py")
    assert told.startswith(f"Line 12 of ex.py raised {raised.type}: ")
    assert told.endswith(MEANINGS[first_match(raised.message)])


def test_every_explanation_has_its_mishap():
    assert {first_match(message_of(mishap).message) for mishap in MISHAPS} == set(MEANINGS)


def test_an_unknown_message_is_repeated_and_cut():
    assert (
        explain(Raised("ValueError", "strange. And more", None), "ex.py") == "Your function raised ValueError: strange."
    )
    assert explain(Raised("ValueError", "s" * 300, 1), "ex.py") == f"Line 1 of ex.py raised ValueError: {'s' * 200} …"


def test_an_exit_is_told_as_one():
    assert explain(Raised("SystemExit", "0", 3), "ex.py").startswith("Line 3 of ex.py ended the program.")
