"""The same gradients again and again: hardware that fails now and then shows as a changed bit."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any

import torch
from pebble import ProcessExpired

from lab.prove.case import ROWS, Chunk
from lab.prove.gradient import differentiate, place_case
from lab.prove.numbers import draw_numbers
from lab.prove.verify import Target, quiet


def soak(
    chunks: Sequence[Chunk], target: Target, executor: Executor, *, minutes: float, on_round: Callable[[int], None]
) -> dict[str, Any]:
    """Repeat the chunks until the time is over, and at least twice. Returns what was checked and what differed.

    Operations that torch documents to add in no fixed order are left out where there are several threads.
    """
    steady = [chunk for chunk in chunks if not _may_differ(chunk, target)]
    end = time.monotonic() + 60 * minutes
    first: dict[str, dict[str, str]] = {}
    runs, differing, rounds = 0, Counter[str](), 0
    while rounds < 2 or (steady and time.monotonic() < end):
        for chunk, digests in _one_round(steady, target, executor, end=end if rounds >= 2 else None):
            runs += len(digests)
            known = first.setdefault(chunk.id, digests)
            differing.update(case for case, bits in digests.items() if known[case] != bits)
        rounds += 1
        on_round(rounds)
    return {
        "minutes": minutes,
        "rounds": rounds,
        "cases": sum(len(chunk.cases) for chunk in steady),
        "runs": runs,
        "differing": dict(sorted(differing.items())),
    }


def _one_round(
    chunks: Sequence[Chunk], target: Target, executor: Executor, *, end: float | None
) -> list[tuple[Chunk, dict[str, str]]]:
    """Run every chunk once, none that would start after the end."""
    waiting, running, found = list(chunks), dict[Future[Any], Chunk](), []
    while waiting or running:
        while waiting and len(running) < 2 * _width(executor):
            if end is not None and time.monotonic() > end:
                waiting.clear()
                break
            chunk = waiting.pop(0)
            running[executor.submit(digest_chunk, chunk, target)] = chunk
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        found += [_digests(running.pop(future), future) for future in done]
    return found


def _digests(chunk: Chunk, future: Future[dict[str, str]]) -> tuple[Chunk, dict[str, str]]:
    """Return what a worker found; that it died or hung is the same for all cases of the chunk."""
    try:
        return chunk, future.result()
    except (ProcessExpired, TimeoutError) as end:
        return chunk, dict.fromkeys((case.id for case in chunk.cases), type(end).__name__)


def _width(executor: Executor) -> int:
    return int(getattr(executor, "count", 2))


def _may_differ(chunk: Chunk, target: Target) -> bool:
    several = target.torch_device.type != "cpu" or target.backend.threads > 1
    return ROWS[chunk.op].unordered and several


def digest_chunk(chunk: Chunk, target: Target) -> dict[str, str]:
    """Run the cases of a chunk and return a digest of the bits of each one's gradients, or of what it raised."""
    numbers, found = {case: draw_numbers(case.problem) for case in chunk.cases}, {}
    with quiet(), target.backend.context():
        row = target.row(chunk.op)
        for case in chunk.cases:
            state = hashlib.blake2b(digest_size=8)
            try:
                for gradient in differentiate(row, case, place_case(case, numbers[case], target.torch_device)):
                    state.update(gradient.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
                found[case.id] = state.hexdigest()
            except Exception as error:  # whatever a kernel raises has to be the same again
                found[case.id] = type(error).__name__
    return found
