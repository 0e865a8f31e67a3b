"""Leaf or not.

An optimiser updates leaves, and gradients end up in leaves. So each time that
a parameter "does not learn", the first question is who made the tensor: you,
or an operation that was recorded? Only operations on something that tracks
are recorded, so constants and what is computed from them are leaves as well.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from lab.practise import (
    AnswerError,
    Attempt,
    Check,
    Mistake,
    Trial,
    Values,
    describe,
    read_answer,
)


def leaf_or_not(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """Predict is_leaf of eight tensors; return True or False for each, in
    this order:

        x
        x + 1
        x * w
        x.detach()
        x.detach() * w
        x > w
        (x + 1).requires_grad_()
        x * w, computed under torch.no_grad()

    x and w are floating point tensors that were just made, one with
    requires_grad=x_tracks, the other with requires_grad=w_tracks. Work out
    each answer from these two: you are asked for all four cases.
    """
    either_tracks = x_tracks or w_tracks
    return [
        True,
        not x_tracks,
        not either_tracks,
        True,
        not w_tracks,
        True,
        not x_tracks,
        True,
    ]


HINTS = (
    "Who made the tensor: you, or an operation? And if it was an operation, "
    "was there anything that it had to be recorded for?",
    "Look up torch.Tensor.is_leaf: what does not require grad is a leaf by "
    "convention, and what does is one only if no operation made it.",
    "A result is a leaf where none of its inputs tracks: for x + 1 that is "
    "not ____, for two inputs not (____ or ____).",
)


def as_if_both_tracked(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """Right where both x and w track, and the same answer in every case.

    Where an input does not track, nothing is recorded for its sake, and what
    is computed from it alone is a leaf too. Let the answers depend on
    x_tracks and w_tracks.
    """
    return [True, False, False, True, False, True, False, True]


def only_x_was_made(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """You call only x a leaf, as if every operation made a result.

    What counts is whether it was recorded. detach(), a comparison and
    no_grad() give tensors that no recorded operation has made, and so does
    every operation on constants alone.
    """
    return [True, False, False, False, False, False, False, False]


def leaf_means_tracking(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """You answered which of them require grad. That is another question.

    A constant is a leaf that does not track; x + 1 tracks where x does and is
    no leaf. The two meet in parameters: leaves that track.
    """
    either_tracks = x_tracks or w_tracks
    return [
        x_tracks,
        x_tracks,
        either_tracks,
        False,
        w_tracks,
        False,
        True,
        False,
    ]


def the_other_way_round(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """All eight are the wrong way round: you said which of them are results.

    A leaf is what no recorded operation has made. A graph grows from its
    leaves, which are what you put in, towards the loss.
    """
    either_tracks = x_tracks or w_tracks
    return [
        False,
        x_tracks,
        either_tracks,
        False,
        w_tracks,
        False,
        x_tracks,
        False,
    ]


def constants_are_no_leaves(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """x is wrong where it does not track: you took a constant for a result.

    It is a leaf as well, for nothing has made it but you. To be a leaf is one
    thing, to have a gradient is another.
    """
    either_tracks = x_tracks or w_tracks
    return [
        x_tracks,
        not x_tracks,
        not either_tracks,
        True,
        not w_tracks,
        True,
        not x_tracks,
        True,
    ]


def w_not_counted(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """x * w is wrong where only w tracks: you looked at x alone.

    The product has two inputs, and one that tracks is enough for it to be
    recorded.
    """
    return [
        True,
        not x_tracks,
        not x_tracks,
        True,
        not w_tracks,
        True,
        not x_tracks,
        True,
    ]


def both_have_to_track(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """x * w is wrong where only one of the two tracks.

    One input that tracks is enough for the product to be recorded: else the
    gradient could not find its way to that one.
    """
    return [
        True,
        not x_tracks,
        not (x_tracks and w_tracks),
        True,
        not w_tracks,
        True,
        not x_tracks,
        True,
    ]


def detach_is_recorded(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """x.detach() is wrong where x tracks: you took it for an operation that
    is recorded.

    It is the one that is not. It shows the values of x in a new tensor
    without a history, and what has no history is a leaf.
    """
    either_tracks = x_tracks or w_tracks
    return [
        True,
        not x_tracks,
        not either_tracks,
        not x_tracks,
        not w_tracks,
        True,
        not x_tracks,
        True,
    ]


def w_forgotten(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """x.detach() * w is wrong where w tracks: detach() speaks for one tensor,
    not for what is computed with it.

    w still tracks, so the product is recorded for the sake of w.
    """
    either_tracks = x_tracks or w_tracks
    return [
        True,
        not x_tracks,
        not either_tracks,
        True,
        True,
        True,
        not x_tracks,
        True,
    ]


def detach_forgotten(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """x.detach() * w is wrong where x tracks and w does not: x itself has no
    part in that product.

    What was multiplied is the detached tensor, and that one never tracks.
    """
    either_tracks = x_tracks or w_tracks
    return [
        True,
        not x_tracks,
        not either_tracks,
        True,
        not either_tracks,
        True,
        not x_tracks,
        True,
    ]


def comparison_is_recorded(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """x > w is wrong where something tracks: it is true or false, and that
    has no derivative.

    Such results never track, and what does not track is a leaf. It is also
    where a graph ends unnoticed: no gradient passes a comparison.
    """
    either_tracks = x_tracks or w_tracks
    return [
        True,
        not x_tracks,
        not either_tracks,
        True,
        not w_tracks,
        not either_tracks,
        not x_tracks,
        True,
    ]


def asking_makes_a_leaf(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """(x + 1).requires_grad_() is wrong where x tracks: the sum tracks
    already, so requires_grad_() changes nothing.

    It stays the result that it was. Only of a tensor that does not track does
    requires_grad_() make a leaf that does.
    """
    either_tracks = x_tracks or w_tracks
    return [
        True,
        not x_tracks,
        not either_tracks,
        True,
        not w_tracks,
        True,
        True,
        True,
    ]


def no_grad_is_recorded(x_tracks: bool, w_tracks: bool) -> list[bool]:
    """The product under no_grad() is wrong where something tracks: you took
    it for one that is recorded.

    Under no_grad() nothing is, so its result has no history, and that makes
    it a leaf. It is one that does not track.
    """
    either_tracks = x_tracks or w_tracks
    return [
        True,
        not x_tracks,
        not either_tracks,
        True,
        not w_tracks,
        True,
        not x_tracks,
        not either_tracks,
    ]


def a_copy(x: Tensor) -> bool:
    """False: clone() is recorded, so that gradients flow through the copy
    back to x.
    """
    copy = x.clone()
    return copy.is_leaf


def a_fresh_start(x: Tensor) -> bool:
    """True: detach() took the history away, and requires_grad_() began a new
    one with this tensor.
    """
    fresh = x.clone().detach().requires_grad_()
    return fresh.is_leaf


def a_parameter(x: Tensor, w: Tensor) -> bool:
    """True: Parameter takes the values of what it is given and leaves the
    history behind. So no gradient of it ever reaches x and w.
    """
    parameter = torch.nn.Parameter(x * w)
    return parameter.is_leaf


def one_more(x: Tensor) -> bool:
    """It raises a RuntimeError: a leaf that tracks may not be changed in
    place. x = x + 1 would not raise, and x would no longer be a leaf.
    """
    x += 1
    return x.is_leaf


EXPRESSIONS = (
    "x",
    "x + 1",
    "x * w",
    "x.detach()",
    "x.detach() * w",
    "x > w",
    "(x + 1).requires_grad_()",
    "x * w under no_grad()",
)
CASES = {
    "both track": (True, True),
    "only x tracks": (True, False),
    "only w tracks": (False, True),
    "neither tracks": (False, False),
}


def draw(rng: random.Random) -> dict[str, float]:
    # For the predictions. Every trial asks for all four cases, so that no
    # answer is right by luck, and leaves nothing to draw.
    return {"x": rng.randrange(6, 25) / 8, "w": rng.randrange(6, 25) / 8}


def observe(attempt: Attempt, trial: Trial) -> Values:
    answers = {
        case: read_answer(attempt(*tracks), *EXPRESSIONS, read=_read_bool)
        for case, tracks in CASES.items()
    }
    return {
        _name(expression): [c for c in CASES if answers[c][expression]]
        or "empty"
        for expression in EXPRESSIONS
    }


def _name(expression: str) -> str:
    return f"the list of cases where {expression} is a leaf"


def _read_bool(answer: object) -> bool:
    if isinstance(answer, bool):
        return answer
    raise AnswerError(
        f"One of the eight is {describe(answer)}. Expected True or False."
    )


def expected(trial: Trial) -> Values:
    everywhere, neither = list(CASES), "neither tracks"
    where = {
        "x": everywhere,
        "x + 1": ["only w tracks", neither],
        "x * w": [neither],
        "x.detach()": everywhere,
        "x.detach() * w": ["only x tracks", neither],
        "x > w": everywhere,
        "(x + 1).requires_grad_()": ["only w tracks", neither],
        "x * w under no_grad()": everywhere,
    }
    return {_name(expression): cases for expression, cases in where.items()}


CHECK = Check(
    solution=leaf_or_not,
    first={"x": 2.0, "w": 3.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(as_if_both_tracked, hint=1),
        Mistake(only_x_was_made, hint=1),
        Mistake(leaf_means_tracking, hint=2),
        Mistake(the_other_way_round, hint=2),
        Mistake(constants_are_no_leaves, hint=1),
        Mistake(w_not_counted, hint=3),
        Mistake(both_have_to_track, hint=3),
        Mistake(detach_is_recorded, hint=1),
        Mistake(w_forgotten, hint=3),
        Mistake(detach_forgotten, hint=3),
        Mistake(comparison_is_recorded, hint=1),
        Mistake(asking_makes_a_leaf, hint=2),
        Mistake(no_grad_is_recorded, hint=1),
    ),
    predictions=(a_copy, a_fresh_start, a_parameter, one_more),
)
