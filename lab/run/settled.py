"""Text without what names a process, an address or a private folder, and so differs from run to run."""

from __future__ import annotations

import re
from typing import Any

# Each begins with fixed text, which re looks for fast: outputs can be long.
_PATTERNS = (
    (re.compile(r" at 0x[0-9a-fA-F]+"), " at 0x…"),  # <object object at 0x7f2a…>
    (re.compile(r"/ipykernel_\d+/"), "/ipykernel_…/"),  # where a warning says a cell lies
    (re.compile(r"/\.partial-\w+"), "/.partial-…"),  # the working directory of a run
)


def settle(text: Any) -> Any:
    """Return a text, or a list of lines, settled; anything else as it is."""
    if isinstance(text, list):
        return [settle(line) for line in text]
    if isinstance(text, str):
        for pattern, settled in _PATTERNS:
            text = pattern.sub(settled, text)
    return text
