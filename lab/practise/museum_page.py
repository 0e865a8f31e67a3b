"""The error museum as a page of Markdown, docs/errors.md: every message as one torch gave it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from lab.practise.exhibit import Label, known_as
from lab.practise.showing import Scene, Showing

_HEAD = """\
# The error museum

The messages that PyTorch gives where gradients go wrong, and the mistakes that give none. Each comes with the smallest
code that does it, why, and a mend. Where one is known, so does the advice that is often given for it, and what that
does. Nothing here was typed from memory: torch {version} ran all of it and said what stands here. Other versions use
other words. `make errors NAME={name}` shows an exhibit as the torch that you have runs it.

Look for a few words of your message here, or type them: `make errors NAME="{words}"`.

| message | exhibits |
| --- | --- |
"""
_FOOT = "This page is generated from the lessons' `museum.py` by `.venv/bin/lab generate`: edit those.\n"


def museum_page(showings: Iterable[Showing], labels: Iterable[Label], version: str) -> str:
    """Return the page for exhibits that were run on this version of torch."""
    labels = tuple(labels)
    head = _HEAD.format(version=version, name=labels[0].name, words=labels[0].words)
    sections = "\n".join(_section(showing, labels) for showing in showings)
    return f"{head}{''.join(_contents(labels))}\n{sections}\n{_FOOT}"


def page_version(page: str) -> str:
    """Return the version of torch that a page names, or nothing."""
    found = re.search(r"torch (\S+) ran all of it", page)
    return found[1] if found else ""


def _contents(labels: tuple[Label, ...]) -> Iterator[str]:
    """Yield a row for each message, with all its exhibits."""
    for words in dict.fromkeys(label.words for label in labels):
        names = ", ".join(_link(label) for label in labels if label.words == words)
        silent = words.startswith("silent: ")
        yield f"| {words if silent else f'… {_code(words)} …'} | {names} |\n"


def _section(showing: Showing, labels: tuple[Label, ...]) -> str:
    """Return what is told of one exhibit."""
    shows, mend, advice = showing.shows, showing.mend, showing.advice
    message = textwrap.indent(_wrap(_code(shows.message) if shows.message else showing.told), "> ")
    parts = [f"## {showing.name}\n", message, _wrap(shows.says), _fenced(shows), _wrap(f"**Why.** {shows.why}")]
    parts += [_wrap(f"**Mend.** {mend.says}"), _fenced(mend)]
    if advice:
        told = f"**Often advised: “{advice.says.rstrip('.')}”.** {advice.why} {_ending(advice, labels)}"
        parts += [_wrap(told), _fenced(advice)]
    return "\n".join(parts)


def _ending(advice: Scene, labels: tuple[Label, ...]) -> str:
    """Say what the advice ended in, where that is a message, and link to its exhibit."""
    if not advice.message:
        return ""
    exhibits = known_as(advice.message, labels)
    same = f", as in {_link(exhibits[0])}" if exhibits else ""
    return f"It {'raises' if advice.raised else 'warns'} {_code(advice.opening)}{same}."


def _link(label: Label) -> str:
    return f"[{label.name}](#{label.name})"


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def _fenced(scene: Scene) -> str:
    return f"```python\n{scene.noted}\n```\n"


def _wrap(text: str) -> str:
    return textwrap.fill(text.strip(), 118, break_long_words=False, break_on_hyphens=False) + "\n"
