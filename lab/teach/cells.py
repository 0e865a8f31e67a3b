"""The cells of a lesson's source, a percent-format script.

jupytext makes the notebook from the same file. It is not used here, because a lesson runs as a script with torch
alone and its first line appears before anything large is imported; a test holds both readings together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The tag of a cell whose results matter and whose code does not, such as a picture's. The word is Jupyter Book's.
HIDDEN = "hide-input"

_HEADER = re.compile(r"# %%(?P<markdown> \[markdown\])?(?: tags=\[(?P<tags>[^\]]*)\])?$")


@dataclass(frozen=True)
class Cell:
    """One cell. line: where its source starts in the file, counted from 1."""

    markdown: bool
    tags: tuple[str, ...]
    source: str
    line: int


def read_cells(path: Path) -> list[Cell]:
    """Read the cells of a percent-format script in their order."""
    return list(_cells(path.read_text(encoding="utf-8").splitlines()))


def _cells(lines: list[str]) -> Iterator[Cell]:
    headers = [(i, match) for i, line in enumerate(lines) if (match := _HEADER.match(line))]
    ends = [i for i, _ in headers[1:]] + [len(lines)]
    for (start, header), end in zip(headers, ends, strict=True):
        body = lines[start + 1 : end]
        if header["markdown"]:
            body = [line.removeprefix("#").removeprefix(" ") for line in body]
        tags = tuple(re.findall(r'"([^"]+)"', header["tags"] or ""))
        yield Cell(bool(header["markdown"]), tags, "\n".join(body).strip("\n"), start + 2)
