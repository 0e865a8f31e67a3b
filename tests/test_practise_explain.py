"""Messages that an attempt raises, raised anew by the installed version, each met by its explanation."""

import re

import pytest
import torch

from lab.practise.exhibit import Exhibit, known_as, load_museum, read_labels
from lab.practise.explain import SLIPS, explain
from lab.practise.showing import run_exhibit
from lab.practise.trial import Raised

LABELS = {label.name: label for label in read_labels()}
RAISING = {name: exhibit for name, exhibit in load_museum().items() if exhibit.says}


def leaf():
    return torch.tensor([2.0, 3.0], requires_grad=True)


def power_as_xor():
    leaf() ^ leaf()


def context_manager_not_called():
    with torch.no_grad:
        pass


def nobody_answers():
    raise EOFError("EOF when reading a line")


SLIPPED = (power_as_xor, context_manager_not_called, nobody_answers)


def message_of(mishap):
    with pytest.raises(Exception) as caught:  # noqa: PT011  # any
        mishap()
    return Raised(type(caught.value).__name__, str(caught.value), 12)


def first_match(message):
    return next((p for p in SLIPS if re.search(p, message, re.IGNORECASE)), None)


@pytest.mark.parametrize("exhibit", RAISING.values(), ids=RAISING)
def test_what_an_exhibit_of_the_museum_raises_is_explained_by_it(exhibit: Exhibit):
    kind, _, message = run_exhibit(exhibit).shows.message.partition(": ")
    told = explain(Raised(kind, message, 12), "ex.py")
    first, *others = known_as(message, LABELS.values())
    assert told.startswith(f"Line 12 of ex.py raised {kind}: {message[:20]}")
    assert f" {first.meaning} More: lab errors {first.name}" in told
    assert exhibit.name in [first.name, *(label.name for label in others)]
    assert re.findall(r"[a-z]+(?:-[a-z]+)+", told.partition("More: ")[2]) == [first.name, *(o.name for o in others)]


@pytest.mark.parametrize("mishap", SLIPPED)
def test_a_slip_of_python_is_explained_on_the_spot(mishap):
    raised = message_of(mishap)
    told = explain(raised, "ex.py")
    assert told.startswith(f"Line 12 of ex.py raised {raised.type}: ")
    assert told.endswith(SLIPS[first_match(raised.message)])


def test_every_slip_has_its_mishap_and_none_is_an_exhibit():
    assert {first_match(message_of(mishap).message) for mishap in SLIPPED} == set(SLIPS)
    assert [known_as(message_of(mishap).message, LABELS.values()) for mishap in SLIPPED] == [[], [], []]
    assert not any(first_match(run_exhibit(exhibit).shows.message) for exhibit in RAISING.values())


def test_a_sum_with_none_is_explained_whatever_the_operation():
    for mishap in (lambda: leaf().grad + 1, lambda: 2 * leaf().grad, lambda: leaf().grad.item()):
        assert ".grad" in explain(message_of(mishap), "ex.py")


def test_an_unknown_message_is_repeated_and_cut():
    assert (
        explain(Raised("ValueError", "strange. And more", None), "ex.py") == "Your function raised ValueError: strange."
    )
    assert explain(Raised("ValueError", "s" * 300, 1), "ex.py") == f"Line 1 of ex.py raised ValueError: {'s' * 200} …"


def test_an_exit_is_told_as_one():
    assert explain(Raised("SystemExit", "0", 3), "ex.py").startswith("Line 3 of ex.py ended the program.")
