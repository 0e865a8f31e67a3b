"""An exhibit run: the code that is shown and what the installed torch does with it."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import warnings
from dataclasses import asdict, dataclass
from typing import Any

from lab.practise.exhibit import Exhibit, Show, paragraphs
from lab.practise.trial import Value, read_value

_WIDTH = 74  # of code, which is shown indented in 80 columns
# What differs from build to build: the place in the C++ sources, its stack, an address.
_VOLATILE = (r"\s*\(Triggered internally at .*?:\d+\.\)", r"(?s)\s*Exception raised from .*", r"(?<=\b0x)[0-9a-f]+")


@dataclass(frozen=True)
class Scene:
    """Some code and what it did.

    code: as it is typed. says: what its message means, how it mends that, or the advice itself. why: the rest of what
    is said about it. message: what it raised or warned of, its type first, or nothing. raised: whether the message
    ended it. value: what it returned, as plain data; printed: as print shows it.
    """

    code: str
    says: str
    why: str
    message: str
    raised: bool
    value: Value
    printed: str

    @property
    def opening(self) -> str:
        """The start of the message, to know it by."""
        return textwrap.shorten(self.message, 60, placeholder=" …")

    @property
    def noted(self) -> str:
        """The code with what it prints as a comment."""
        if self.raised:
            return self.code
        note = f"# prints {self.printed}"
        last = self.code.rpartition("\n")[2]
        return f"{self.code}{'  ' if len(last) + len(note) + 2 <= _WIDTH else chr(10)}{note}"


@dataclass(frozen=True)
class Showing:
    """An exhibit that was run: what it shows, its mend, and what the bad advice did, where there is one."""

    name: str
    number: int
    shows: Scene
    mend: Scene
    advice: Scene | None

    @property
    def told(self) -> str:
        """What torch says; of a silent mistake, what is wrong."""
        silent = f"No message. It prints {self.shows.printed}, and {self.mend.printed} is right."
        return self.shows.message or silent

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def run_exhibit(exhibit: Exhibit) -> Showing:
    """Run an exhibit, its mend and the advice on the installed torch."""
    advice = run_scene(exhibit.advice) if exhibit.advice else None
    return Showing(exhibit.name, exhibit.number, run_scene(exhibit.shows), run_scene(exhibit.mend), advice)


def run_scene(function: Show) -> Scene:
    """Run a function as it stands and keep what it returns, raises or warns of."""
    value, message, raised = None, "", False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = function()
        except Exception as error:
            message, raised = _told(type(error).__name__, error), True
    if caught and not raised:
        message = _told(caught[0].category.__name__, caught[0].message)
    says, *why = paragraphs(function)
    return Scene(code_of(function), says, " ".join(why), message, raised, read_value(value), str(value))


def code_of(function: Show) -> str:
    """Return a function's body as a script: what it returns is printed, and torch is imported."""
    source = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.FunctionDef)
    docstring, *_, last = definition.body
    body = source.splitlines()[docstring.end_lineno : last.end_lineno]
    if isinstance(last, ast.Return) and last.value:
        body[last.lineno - 1 - (docstring.end_lineno or 0) :] = [f"    print({ast.unparse(last.value)})"]
    return "\n".join(["import torch", "", textwrap.dedent("\n".join(body))])


def _told(kind: str, what: object) -> str:
    """Return a message behind its type, on one line, without what differs from build to build."""
    text = str(what)
    for pattern in _VOLATILE:
        text = re.sub(pattern, "…" if "0x" in pattern else "", text)
    return f"{kind}: {' '.join(text.split())}"
