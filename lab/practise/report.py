"""What a learner reads of a judgement in the terminal, as styled text; the command line prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from lab.practise.judgement import Judgement, Status

_SIGNS = {Status.SOLVED: ("✓", "green"), Status.WRONG: ("✗", "red"), Status.NOT_STARTED: ("·", "dim")}
_LINES = 20  # of what an attempt printed: its end


def report_judgements(judgements: Sequence[Judgement], *, again: str, workspace: Path) -> Iterator[Text]:
    """Yield the list of exercises, then what is wrong with the first that is not solved.

    again: the command that judges with the same numbers. workspace: where the attempts lie.
    """
    solved = sum(judgement.solved for judgement in judgements)
    yield Text(f"{solved}/{len(judgements)} solved", style="bold")
    for judgement in judgements:
        sign, style = _SIGNS[judgement.status]
        yield Text(f"  {sign} {judgement.id.partition('_')[0]}  {judgement.title}", style=style)
    yield Text()
    first = next((judgement for judgement in judgements if not judgement.solved), None)
    if first is None:
        yield from (Text(f"{judgement.title}: {judgement.meaning}\n") for judgement in judgements)
    else:
        yield from _explain(first, again=again, workspace=workspace)


def _explain(judgement: Judgement, *, again: str, workspace: Path) -> Iterator[Text]:
    yield Text(f"{judgement.title}: {judgement.status}", style="bold")
    if judgement.output:
        yield Text(_printable(judgement.output), style="dim")
    yield Text(judgement.diagnosis)
    if judgement.hint:
        yield Text(f"Hint: {judgement.hint}")
    if judgement.status is Status.WRONG:
        yield Text(f"Your file: {next(workspace.rglob(f'{judgement.id}.py'), workspace)}", style="dim")
        if judgement.comparisons:
            yield Text(f"The same numbers again: {again}", style="dim")


def _printable(output: str) -> str:
    """Return the end of what an attempt printed, with nothing in it that commands a terminal."""
    lines = output.rstrip("\n").split("\n")
    kept = "\n".join([f"… {len(lines) - _LINES:,} lines before", *lines[-_LINES:]] if len(lines) > _LINES else lines)
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in kept[-10_000:])
