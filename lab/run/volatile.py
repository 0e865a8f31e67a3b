"""Text without what names a process, an address or a private folder, and so differs from run to run."""

from __future__ import annotations

import re
from typing import Any

_PATTERNS = (
    (re.compile(r" at 0x[0-9a-fA-F]+"), " at 0x…"),  # <object object at 0x7f2a…>
    (re.compile(r"/ipykernel_\d+/"), "/ipykernel_…/"),  # where a warning says a cell lies
    (re.compile(r"(?:/[^/\s'\"<>:]+)*/\.partial-\w+"), "/…"),  # the working directory of a run, in whichever store
)
_FIXED = (" at 0x", "/ipykernel_", "/.partial-")  # without which none is looked for: outputs can be long


def mask_volatile(text: Any) -> Any:
    """Return a text, or a list of lines, settled; anything else as it is."""
    if isinstance(text, list):
        return [mask_volatile(line) for line in text]
    if isinstance(text, str):
        for (pattern, settled), fixed in zip(_PATTERNS, _FIXED, strict=True):
            if fixed in text:
                text = pattern.sub(settled, text)
    return text
