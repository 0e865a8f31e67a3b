"""What PyTorch's and Python's own messages mean to someone who meets them for the first time."""

from __future__ import annotations

import re

from lab.practise.trial import Raised

# A regular expression for the message, then its meaning; the first that is found counts. Each was met on torch
# 2.13. The texts vary between versions, so a test raises every one of them anew.
MEANINGS = {
    r"bitwise_xor": "Python writes powers with **: x**2. The sign ^ is another operation, on whole numbers.",
    r"context manager protocol|__enter__": "It has to be called: with torch.no_grad(): and not with torch.no_grad:",
    r"backward through the graph a second time": (
        "backward() frees the graph that it went through, and this one was used before. "
        "Build the expression again, or keep the graph with retain_graph=True."
    ),
    r"does not require grad and does not have a grad_fn": (
        "No tracked tensor leads to this result: it was made of constants, detached, or computed under no_grad. "
        "Compute it from the inputs themselves."
    ),
    r"modified by an inplace operation": (
        "backward() needs a value that was overwritten after it was saved. Write the result into a new tensor."
    ),
    r"a view of a leaf Variable that requires grad": (
        "Part of a leaf was overwritten while it was tracked. Change it under torch.no_grad(), or build a new tensor."
    ),
    r"a leaf Variable that requires grad": (
        "A leaf was changed in place while it was tracked. To clear its gradient, zero x.grad and not x. To change "
        "x itself, do it under torch.no_grad(); "
        "x = x + 1 instead of x += 1 would make x a non-leaf, whose .grad is None."
    ),
    r"grad can be implicitly created only for scalar": (
        "A gradient is that of one number. Sum or pick one, or say with backward(v) how the outputs are weighted."
    ),
    r"Can't call numpy\(\) on Tensor that requires grad": ("NumPy does not record. Detach first: x.detach().numpy()."),
    r"floating point( and complex)? dtype can require grad": (
        "Whole numbers cannot be nudged, so they have no gradient. Make a floating point tensor."
    ),
    r"'NoneType' object has no attribute|unsupported operand .*'NoneType'": (
        "Something is None here. The .grad of a leaf is None until a backward() has brought it something, "
        "and that of a non-leaf stays None."
    ),
    r"Inference tensors cannot be saved for backward": (
        "A tensor made under inference_mode cannot be saved for backward, which this operation needs. "
        "Make it under no_grad."
    ),
    r"change requires_grad flags of leaf variables": (
        "Only a leaf can be switched off, and this tensor was computed. Use its .detach()."
    ),
    r"appears to not have been used in the graph": (
        "The result was not computed from this tensor, perhaps from a copy of it."
    ),
    r"EOF when reading a line": "Nobody is there to answer input(). Take what you need from the arguments.",
}


def explain(raised: Raised, file: str) -> str:
    """Say where an attempt raised and what that means. file: what to call the attempt's file."""
    where = f"Line {raised.line} of {file}" if raised.line else "Your function"
    if raised.type == "SystemExit":
        return f"{where} ended the program. Let the function return its answer instead."
    sentence = re.split(r"\n|\.(?:\s|$)", raised.message, maxsplit=1)[0]
    message = f": {sentence[:200]}{'.' if len(sentence) <= 200 else ' …'}" if sentence else "."
    found = (meaning for pattern, meaning in MEANINGS.items() if re.search(pattern, raised.message, re.IGNORECASE))
    return f"{where} raised {raised.type}{message} {next(found, '')}".rstrip()
