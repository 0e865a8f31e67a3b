"""lab.errors: the tree in the docstring is the tree of the classes."""

from __future__ import annotations

import itertools
import pickle
import re

import pytest

from lab import errors
from lab.errors import INTERRUPTED, TERMINATED, LabError, UsageError, did_you_mean

_ROW = re.compile(r"^    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+) +(?P<code>\d+)(  |$)")


def documented() -> dict[str, tuple[str | None, int]]:
    """Read the tree of the docstring: each class's parent and exit code."""
    found: dict[str, tuple[str | None, int]] = {}
    ancestors: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if row := _ROW.match(line):
            depth = len(row["branch"]) // 4
            del ancestors[depth:]
            found[row["name"]] = (ancestors[-1] if ancestors else None, int(row["code"]))
            ancestors.append(row["name"])
    return found


def defined() -> dict[str, type[LabError]]:
    return {n: c for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, LabError)}


def test_the_docstring_draws_the_classes_as_they_are() -> None:
    parents = {name: None if c is LabError else c.mro()[1].__name__ for name, c in defined().items()}
    assert documented() == {name: (parents[name], c.exit_code) for name, c in defined().items()}


def test_an_exit_code_says_which_kind_it_was() -> None:
    for a, b in itertools.combinations(defined().values(), 2):
        related = LabError not in (a, b) and (issubclass(a, b) or issubclass(b, a))
        assert (a.exit_code == b.exit_code) is related, (a, b)
    codes = {c.exit_code for c in defined().values()}
    assert not codes & {0, INTERRUPTED, TERMINATED}
    assert f"{INTERRUPTED} and a terminate with {TERMINATED}" in " ".join((errors.__doc__ or "").split())


@pytest.mark.parametrize("kind", defined().values(), ids=lambda kind: kind.__name__)
def test_an_error_says_three_sentences_also_in_another_process(kind: type[LabError]) -> None:
    error = pickle.loads(pickle.dumps(kind("This happened.", "That was expected.", "Type this.")))
    assert type(error) is kind
    assert str(error) == "This happened. That was expected. Type this."
    assert (error.happened, error.expected, error.next_step) == ("This happened.", "That was expected.", "Type this.")


def test_a_wrong_parameter_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        raise errors.ParameterError("x = abc.", "A float.", "Type x=2.")


@pytest.mark.parametrize(
    ("word", "choices", "answer"),
    [
        ("cdua", ["cpu", "cuda"], "Did you mean 'cuda'?"),
        ("tpu", [], ""),
        ("", ["cpu"], ""),
        ("zebra", ["cpu", "cuda"], ""),
        ("seed", (name for name in ("x", "seeds")), "Did you mean 'seeds'?"),
    ],
)
def test_the_nearest_choice_is_suggested_and_none_where_none_is_near(
    word: str, choices: list[str], answer: str
) -> None:
    assert did_you_mean(word, choices) == answer
