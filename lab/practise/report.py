"""What a learner reads of a judgement in the terminal, as styled text; the command line prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from lab.practise.judgement import Judgement, Status

_SIGNS = {
    Status.SOLVED: ("✓", "green"),
    Status.WRONG: ("✗", "red"),
    Status.NOT_STARTED: ("·", "dim"),
    Status.NOT_JUDGED: ("–", "dim"),
}
_LINES = 20  # of what an attempt printed: its end


def report_judgements(judgements: Sequence[Judgement]) -> Iterator[Text]:
    """Yield how many are solved, and the list."""
    yield Text(count_solved(judgements), style="bold")
    for judgement in judgements:
        sign, style = _SIGNS[judgement.status]
        why = f": {judgement.diagnosis}" if judgement.status is Status.NOT_JUDGED else ""
        yield Text(f"  {sign} {judgement.id.partition('_')[0]}  {judgement.title}{why}", style=style)


def count_solved(judgements: Sequence[Judgement]) -> str:
    """Return such as ``14/24 solved``."""
    return f"{sum(judgement.solved for judgement in judgements)}/{len(judgements)} solved"


def first_to_explain(judgements: Sequence[Judgement]) -> Judgement | None:
    """Return the first that is wrong, else the first that is not started; None where all are solved."""
    for status in (Status.WRONG, Status.NOT_STARTED):
        for judgement in judgements:
            if judgement.status is status:
                return judgement
    return None


def explain_judgement(judgement: Judgement, path: Path, *, again: str) -> Iterator[Text]:
    """Yield all that is to be said of one. path: of the attempt. again: what judges with the same numbers."""
    _, style = _SIGNS[judgement.status]
    yield Text(f"{judgement.title}: {judgement.status}", style=f"bold {style}".replace(" dim", ""))
    if judgement.output:
        yield Text(_printable(judgement.output), style="dim")
    if judgement.solved:
        yield Text(judgement.meaning)
        return
    yield Text(_printable(judgement.diagnosis))
    if judgement.hint:
        yield Text(f"Hint {judgement.step} of 4: {judgement.hint}")
    if judgement.status is Status.WRONG:
        yield Text(f"Your file: {path}", style="dim", no_wrap=True)  # these two are copied and pasted
        if judgement.comparisons:
            yield Text(f"The same numbers again: {again}", style="dim", no_wrap=True)


def _printable(output: str) -> str:
    """Return the end of what an attempt printed, with nothing in it that commands a terminal."""
    lines = output.rstrip("\n").split("\n")
    kept = "\n".join([f"… {len(lines) - _LINES:,} lines before", *lines[-_LINES:]] if len(lines) > _LINES else lines)
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in kept[-10_000:])
