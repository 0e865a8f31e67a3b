"""An exhibit of the error museum: a message of PyTorch, or a mistake that makes none, with its mend.

A lesson's museum.py holds the functions and a row for each exhibit in its MUSEUM. What the rows and docstrings say is
read from the file's text, as an exercise's is, so that a message can be looked up without torch.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from lab.errors import UsageError, did_you_mean
from lab.lessons import LESSONS
from lab.practise.discover import execute_source, find_function, read_source

Show = Callable[[], Any]


@dataclass(frozen=True)
class Exhibit:
    """A row of MUSEUM.

    number: the message's; its wordings, and its causes, share one. shows: the smallest code that does it. says: a
    regular expression for words that the message has in every supported torch, or nothing for a silent mistake.
    mend: code that works. right: what it returns, in closed form. advice: what is often advised, which fails.
    """

    number: int
    shows: Show
    says: str
    mend: Show
    right: float | list[float]
    advice: Show | None = None

    @property
    def name(self) -> str:
        """Such as ``second-backward``."""
        return _name(self.shows.__name__)


@dataclass(frozen=True)
class Label:
    """What is known of an exhibit before it is run. meaning: what its message means; why: how that comes about."""

    name: str
    number: int
    says: str
    meaning: str
    why: str

    @property
    def words(self) -> str:
        """The message's own words, or what a silent mistake does."""
        return re.sub(r"\\(.)", r"\1", self.says.replace(".*", " … ")) or f"silent: {self.meaning}"

    def matches(self, message: str) -> int:
        """Return how many letters of a message are the words that this exhibit knows; 0 for another message."""
        found = re.search(self.says, message, re.IGNORECASE) if self.says else None
        return len(found.group()) if found else 0


@cache
def read_labels(folder: Path = LESSONS) -> tuple[Label, ...]:
    """Read the labels of every lesson's museum, in their order."""
    return tuple(label for path in _museums(folder) for label in _labels_of(ast.parse(read_source(path))))


def load_museum(folder: Path = LESSONS) -> dict[str, Exhibit]:
    """Load every exhibit by its name; this imports torch."""
    rows = (row for path in _museums(folder) for row in execute_source(read_source(path), path)["MUSEUM"])
    return {exhibit.name: exhibit for exhibit in rows}


def known_as(message: str, labels: Iterable[Label]) -> list[Label]:
    """Return the exhibits that show a message: those that know the most of its words."""
    matched = [(label.matches(message), label) for label in labels]
    most = max((length for length, _ in matched), default=0)
    return [label for length, label in matched if length == most > 0]


def find_labels(word: str, labels: Iterable[Label]) -> list[Label]:
    """Return the exhibits of that name, else of that message, else those that have the word in name or message."""
    word = " ".join(word.lower().split())
    named = [label for label in labels if label.name == word.replace("_", "-").replace(" ", "-")]
    having = [label for label in labels if word in f"{label.name} {label.words}".lower()]
    return named or known_as(word, labels) or having


def no_such_exhibit(word: str, labels: Iterable[Label]) -> UsageError:
    """Return the error for a word that stands for no exhibit."""
    return UsageError(
        f"There is no exhibit {word!r}.",
        "Expected the name of one, or a few words of a message.",
        did_you_mean(word, [label.name for label in labels]) or "Type 'lab errors' to see them all.",
    )


def paragraphs(function: Show) -> list[str]:
    """Return the paragraphs of a function's docstring, a line each."""
    return _paragraphs(inspect.getdoc(function))


def _paragraphs(docstring: str | None) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in (docstring or "").split("\n\n")]


def _museums(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/museum.py"))


def _labels_of(module: ast.Module) -> Iterable[Label]:
    """Yield a label for each row of MUSEUM, whose arguments are numbers, words, or names of either above it."""
    words: dict[str, Any] = {}
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="MUSEUM")], value=ast.Tuple(elts=rows)):
                yield from (_label_of(row, words, module) for row in rows if isinstance(row, ast.Call))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                words[name] = value


def _label_of(row: ast.Call, words: dict[str, Any], module: ast.Module) -> Label:
    names = (field.name for field in fields(Exhibit))
    given = dict(zip(names, row.args, strict=False)) | {word.arg: word.value for word in row.keywords if word.arg}
    number, shows, says = (_read(given[name], words) for name in ("number", "shows", "says"))
    function = find_function(module, shows)
    assert function is not None, "a row names a function of its file"
    meaning, *why = _paragraphs(ast.get_docstring(function))
    return Label(_name(shows), number, says, meaning, " ".join(why))


def _read(node: ast.expr, words: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return words.get(node.id, node.id)
    return ast.literal_eval(node)


def _name(function: str) -> str:
    return function.replace("_", "-")
