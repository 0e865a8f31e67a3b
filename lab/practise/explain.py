"""What PyTorch's and Python's own messages mean to someone who meets them for the first time."""

from __future__ import annotations

import re

from lab.practise.exhibit import known_as, read_labels
from lab.practise.trial import Raised

# Slips that are Python's and not autograd's, so no exhibits of the museum: a regular expression for the message, then
# its meaning. The texts vary between versions, so a test raises every one of them anew.
SLIPS = {
    r"bitwise_xor": "Python writes powers with **: x**2. The sign ^ is another operation, on whole numbers.",
    r"context manager protocol|__enter__": "It has to be called: with torch.no_grad(): and not with torch.no_grad:",
    r"EOF when reading a line": "Nobody is there to answer input(). Take what you need from the arguments.",
}


def explain(raised: Raised, file: str) -> str:
    """Say where an attempt raised and what that means. file: what to call the attempt's file."""
    where = f"Line {raised.line} of {file}" if raised.line else "Your function"
    if raised.type == "SystemExit":
        return f"{where} ended the program. Let the function return its answer instead."
    sentence = re.split(r"\n|\.(?:\s|$)", raised.message, maxsplit=1)[0]
    message = f": {sentence[:200]}{'.' if len(sentence) <= 200 else ' …'}" if sentence else "."
    return f"{where} raised {raised.type}{message} {meaning_of(raised.message)}".rstrip()


def meaning_of(message: str) -> str:
    """Say what a message means and where there is more about it; nothing for one that is not known."""
    for pattern, meaning in SLIPS.items():
        if re.search(pattern, message, re.IGNORECASE):
            return meaning
    exhibits = known_as(message, read_labels())
    if not exhibits:
        return ""
    first, *others = (exhibit.name for exhibit in exhibits)
    same = f"; the same message: {', '.join(others)}" if others else ""
    return f"{exhibits[0].meaning} More: lab errors {first}{same}."
