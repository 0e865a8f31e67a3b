"""Hooks: clip one gradient, record all.

A hook sees a gradient while it is on its way. Exploding gradients are clipped
that way in the middle of a recurrent network, and watched layer by layer
where training fails. A hook that nobody removes runs in every later step.
"""

# A type checker cannot see that .grad is not None after backward().
# mypy: disable-error-code="no-untyped-call,union-attr"

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable
from typing import Any

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
    read_value,
)


def clip_and_record(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """Run z.backward() with one gradient clipped; return all the gradients.

    tensors has, by name, leaves and results that the scalar z was computed
    from; clipped is one of the names. What arrives at tensors[clipped] is
    clamped to the range from -limit to limit, entry by entry, before it goes
    on to what that tensor was computed from. No other gradient is touched.

    Return a dict of the same names: the gradient of z at each tensor, as it
    goes on from there, so the one that was clipped after the clipping. When
    your function returns, none of the tensors has a hook of yours any more.

    For x = 3., h = 2 * x and z = h**2, with h clipped at 5., it is
    {"x": 10., "h": 5.} where it would have been 24 and 12, as tensors. While
    you are judged, the gradient is multiplied by a secret number before it
    arrives at the first of the tensors.
    """
    records: dict[str, Tensor] = {}
    clip = tensors[clipped].register_hook(lambda g: g.clamp(-limit, limit))
    record = [
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
        for name, tensor in tensors.items()
    ]
    z.backward()
    for handle in (clip, *record):
        handle.remove()
    return records


HINTS = (
    "When does a hook run, and who takes what it returns? What does the next "
    "tensor on the way see?",
    "Look up torch.Tensor.register_hook: what the hook returns replaces the "
    "gradient, hooks of a tensor run in their order, and the handle that you "
    "get has a remove().",
    "clip = tensors[clipped].register_hook(lambda g: g.____(…)), then a hook "
    "that records for each of them; after the pass, ____() for every handle",
)


def recorded_before_clipping(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """The clipping is right, but at h you recorded {got[h]}, the gradient
    before it.

    Hooks of one tensor run in the order in which they were registered, each
    with what the one before it returned. Let the recording one come second.
    """
    records: dict[str, Tensor] = {}
    handles = [
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
        for name, tensor in tensors.items()
    ]
    clip = tensors[clipped].register_hook(lambda g: g.clamp(-limit, limit))
    z.backward()
    for handle in (*handles, clip):
        handle.remove()
    return records


def in_place(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """At v you have {got[v]} and not {want[v]}, although only h was to be
    clipped: the hook changed the gradient in place.

    y = v + h passes one and the same tensor on to v and to h. A hook must not
    change what it is given: let it return a new tensor.
    """
    records: dict[str, Tensor] = {}
    clip = tensors[clipped].register_hook(lambda g: g.clamp_(-limit, limit))
    handles = [
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
        for name, tensor in tensors.items()
    ]
    z.backward()
    for handle in (clip, *handles):
        handle.remove()
    return records


def nothing_removed(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """The gradients are right, but {got[hooks left]} hooks are still there,
    the one that clips among them: a later pass was clipped as well.

    register_hook() returns a handle. Keep every one, and remove them all when
    the pass is over.
    """
    records: dict[str, Tensor] = {}
    tensors[clipped].register_hook(lambda g: g.clamp(-limit, limit))
    for name, tensor in tensors.items():
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
    z.backward()
    return records


def only_the_clip_removed(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """The gradients are right, but {got[hooks left]} hooks are still there:
    those that record.

    They run in every later pass and hold on to its gradients. Remove them as
    well.
    """
    records: dict[str, Tensor] = {}
    clip = tensors[clipped].register_hook(lambda g: g.clamp(-limit, limit))
    for name, tensor in tensors.items():
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
    z.backward()
    clip.remove()
    return records


def last_handle_removed(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """The gradients are right, but {got[hooks left]} hooks are still there:
    only the handle that came last was removed.

    Every register_hook() returns another handle. A name that is bound again
    forgets the one before.
    """
    records: dict[str, Tensor] = {}
    handle = tensors[clipped].register_hook(lambda g: g.clamp(-limit, limit))
    for name, tensor in tensors.items():
        handle = tensor.register_hook(
            lambda g, name=name: records.update({name: g})
        )
    z.backward()
    handle.remove()
    return records


def clipped_afterwards(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """At h you have what was asked for, but x got {got[x]} where {want[x]}
    would have come from a clipped h.

    You clipped a record when the pass was over. The gradient itself had gone
    on to x by then. Clip it on its way, in a hook that returns it.
    """
    records: dict[str, Tensor] = {}
    handles = [
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
        for name, tensor in tensors.items()
    ]
    z.backward()
    for handle in handles:
        handle.remove()
    records[clipped] = records[clipped].clamp(-limit, limit)
    return records


def forgot_return(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """Nothing was clipped: h got {got[h]}. A hook that returns nothing leaves
    the gradient as it is.

    clamp() makes a new tensor. What the hook returns goes on in place of what
    came.
    """
    records: dict[str, Tensor] = {}

    def clip(gradient: Tensor) -> None:
        gradient.clamp(-limit, limit)

    handles = [tensors[clipped].register_hook(clip)] + [
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
        for name, tensor in tensors.items()
    ]
    z.backward()
    for handle in handles:
        handle.remove()
    return records


def only_from_above(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """h got {got[h]}: numbers above {limit} were clipped, those below
    -{limit} were not.

    A negative gradient explodes just as well. Clamp on both sides.
    """
    records: dict[str, Tensor] = {}
    clip = tensors[clipped].register_hook(lambda g: g.clamp(max=limit))
    handles = [
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
        for name, tensor in tensors.items()
    ]
    z.backward()
    for handle in (clip, *handles):
        handle.remove()
    return records


def scaled_to_the_limit(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """h got {got[h]}: the whole gradient was scaled until its norm is
    {limit}.

    That is the other way to clip, and keeps the direction. Asked for is to
    clamp each entry on its own: {want[h]}.
    """
    records: dict[str, Tensor] = {}

    def scale(gradient: Tensor) -> Tensor:
        scaled: Tensor = gradient * (limit / gradient.norm()).clamp(max=1)
        return scaled

    handles = [tensors[clipped].register_hook(scale)] + [
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
        for name, tensor in tensors.items()
    ]
    z.backward()
    for handle in handles:
        handle.remove()
    return records


def everything_clipped(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """Every gradient was clipped: y, which comes before h, has {got[y]} where
    it should have {want[y]}.

    Only h is to be clipped. Register the hook that clips on that one tensor.
    """
    records: dict[str, Tensor] = {}

    def clip_it(gradient: Tensor) -> Tensor:
        return gradient.clamp(-limit, limit)

    handles = [t.register_hook(clip_it) for t in tensors.values()] + [
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
        for name, tensor in tensors.items()
    ]
    z.backward()
    for handle in handles:
        handle.remove()
    return records


def one_name_for_all(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """Everything was recorded under the one name 'y', the last of the loop.

    A hook looks its names up when it runs, and it runs when the loop is over.
    Hand the name over as a default, lambda g, name=name: …, or let a function
    of your own make the hook.
    """
    records: dict[str, Tensor] = {}
    clip = tensors[clipped].register_hook(lambda g: g.clamp(-limit, limit))
    # The mistake that ruff warns of as B023.
    record = [
        tensor.register_hook(lambda g: records.update({name: g}))  # noqa: B023
        for name, tensor in tensors.items()
    ]
    z.backward()
    for handle in (clip, *record):
        handle.remove()
    return records


def registered_too_late(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor]:
    """No gradient was recorded: no hook had been called when you returned.

    A hook runs while backward() goes through its tensor, and not by itself
    before or after. Register all of them first.
    """
    records: dict[str, Tensor] = {}
    z.backward()
    clip = tensors[clipped].register_hook(lambda g: g.clamp(-limit, limit))
    record = [
        tensor.register_hook(lambda g, name=name: records.update({name: g}))
        for name, tensor in tensors.items()
    ]
    for handle in (clip, *record):
        handle.remove()
    return records


def grad_of_results(
    z: Tensor, tensors: dict[str, Tensor], clipped: str, limit: float
) -> dict[str, Tensor | None]:
    """The clipping works, but h, v and y have None: you read .grad, and only
    a leaf keeps one.

    A result's gradient is gone when it has been passed on. Record it in a
    hook, on its way.
    """
    clip = tensors[clipped].register_hook(lambda g: g.clamp(-limit, limit))
    z.backward()
    clip.remove()
    with warnings.catch_warnings(action="ignore"):  # PyTorch warns of it
        return {name: tensor.grad for name, tensor in tensors.items()}


def calls_after_the_forward_pass(x: Tensor) -> int:
    """Registering calls nothing, and nor does the forward pass. A hook of a
    tensor waits for a gradient, and that comes with backward().
    """
    calls: list[Tensor] = []
    h = 3 * x
    h.register_hook(calls.append)
    (h**2).sum()
    return len(calls)


def what_the_second_hook_sees(x: Tensor) -> Tensor:
    """The gradient of y.sum() at y is 1. The first hook returned ten times
    that, and the second was given what the first returned.
    """
    seen: list[Tensor] = []
    y = 3 * x
    y.register_hook(lambda gradient: 10 * gradient)
    y.register_hook(seen.append)
    y.sum().backward()
    return seen[0][0]


def draw(rng: random.Random) -> dict[str, list[float] | float]:
    """Signs of both kinds, the same in x and u, so that no sum cancels."""
    signs = [1, -1, *(rng.choice((1, -1)) for _ in range(rng.randrange(3)))]
    return {
        "x": [sign * rng.randrange(2, 9) / 4 for sign in signs],
        "u": [sign * rng.randrange(2, 9) / 4 for sign in signs],
        "limit": rng.randrange(4, 13) / 2,
    }


def observe(attempt: Attempt, trial: Trial) -> Values:
    u, x = (trial.tensor(name).requires_grad_() for name in ("u", "x"))
    v = 2 * u  # before h, so that backward() comes to it after h
    h = 3 * x
    y = v + h
    z = (trial.secret(y) ** 2).sum()
    tensors = {"x": x, "v": v, "h": h, "y": y}
    came: list[Tensor] = []
    with y.register_hook(lambda g: came.extend((g, g.clone()))):
        limit = float(trial.tensor("limit"))
        records = attempt(z, dict(tensors), "h", limit)
    return {
        **_read(records, tensors),
        "x.grad": read_value(x.grad),
        "u.grad": read_value(u.grad),
        "hooks left": float(_count_hooks(tensors.values())),
        "h in a later pass": _later(h),
        # What y passes on is the very tensor that h is given.
        "changed in place": bool(came) and not torch.equal(came[0], came[1]),
    }


def _read(records: Any, tensors: dict[str, Tensor]) -> Values:
    """Return what was recorded, by name."""
    if not isinstance(records, dict):
        found = describe(records)
        raise AnswerError(f"It returned {found}. Expected a dict.")
    if set(records) != set(tensors):
        names = ", ".join(map(str, records)) or "none"
        raise AnswerError(
            f"Names in the dict: {names}. Expected {', '.join(tensors)}."
        )
    return {name: read_value(records[name]) for name in tensors}


def _count_hooks(tensors: Iterable[Tensor]) -> int:
    """Count hooks the public way: PyTorch warns of each that will be lost."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for tensor in tensors:
            torch.utils.hooks.warn_if_has_hooks(tensor)
    return len(found)


def _later(h: Tensor) -> list[float]:
    """Return what arrives at h in a pass of its own, which none may clip."""
    (gradient,) = torch.autograd.grad((64 * h).sum(), h)
    numbers: list[float] = gradient.tolist()
    return numbers


def expected(trial: Trial) -> Values:
    x: Any = trial.inputs["x"]
    u: Any = trial.inputs["u"]
    limit: Any = trial.inputs["limit"]
    y = [
        trial.factor * 2 * (2 * b + 3 * a) for a, b in zip(x, u, strict=True)
    ]
    h = [max(-limit, min(limit, gradient)) for gradient in y]
    return {
        "x": [3 * gradient for gradient in h],
        "v": y,
        "h": h,
        "y": y,
        "x.grad": [3 * gradient for gradient in h],
        "u.grad": [2 * gradient for gradient in y],
        "hooks left": 0.0,
        "h in a later pass": [64.0 for _ in h],
        "changed in place": False,
    }


CHECK = Check(
    solution=clip_and_record,
    first={"x": [2.0, -1.5, 0.25], "u": [1.0, -0.5, 0.25], "limit": 5.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(recorded_before_clipping, hint=2),
        Mistake(in_place, hint=1),
        Mistake(nothing_removed, hint=3),
        Mistake(only_the_clip_removed, hint=3),
        Mistake(last_handle_removed, hint=3),
        Mistake(clipped_afterwards, hint=1),
        Mistake(forgot_return, hint=2),
        Mistake(only_from_above, hint=3),
        Mistake(scaled_to_the_limit, hint=3),
        Mistake(everything_clipped, hint=3),
        Mistake(one_name_for_all, hint=3),
        Mistake(registered_too_late, hint=1),
        Mistake(grad_of_results, hint=2),
    ),
    predictions=(calls_after_the_forward_pass, what_the_second_hook_sees),
)
