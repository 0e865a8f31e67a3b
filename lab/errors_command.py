"""``lab errors``: the error museum in the terminal, and the page of it under docs/."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.console import Json, make_console, print_json, typed

if TYPE_CHECKING:
    from rich.console import Console

    from lab.practise.exhibit import Label
    from lab.practise.showing import Scene, Showing

_COLUMNS = 80


def errors(
    word: Annotated[
        list[str] | None, typer.Argument(help="Its name, or words of its message; all without.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Show what a message of PyTorch means, run here: its cause, its mend, and the advice that fails."""
    from lab.practise.exhibit import load_museum, read_labels
    from lab.practise.showing import run_exhibit

    asked = " ".join(word or ()).strip()
    labels = read_labels()
    found = _find(asked, labels) if asked else labels
    console = make_console(stderr=json)
    if len({label.says or label.name for label in found}) > 1:
        _list(found, console)
        if json:
            print_json({"exhibits": [asdict(label) for label in found]})
        return
    import torch

    showing = run_exhibit(load_museum()[found[0].name])
    _show(showing, f"torch {torch.__version__}", console)
    _print_others(showing, labels, console)
    if json:
        print_json({"torch": torch.__version__, **showing.to_json()})


def museum_pages(folder: Path, *, check: bool) -> dict[Path, str]:
    """Return the page of the museum by its path; nothing for a check of one that another torch has made."""
    import torch

    from lab.practise.exhibit import load_museum, read_labels
    from lab.practise.museum_page import museum_page, page_version
    from lab.practise.showing import run_exhibit

    path, version = folder / "errors.md", torch.__version__.partition("+")[0]
    if check and path.exists() and page_version(path.read_text("utf-8")) not in ("", version):
        return {}
    showings = [run_exhibit(exhibit) for exhibit in load_museum().values()]
    return {path: museum_page(showings, read_labels(), version)}


def _find(asked: str, labels: tuple[Label, ...]) -> tuple[Label, ...]:
    """Return the exhibits that were asked for; where no label has the words, look in what is raised here.

    Raises: UsageError where there is none.
    """
    from lab.errors import did_you_mean
    from lab.practise.exhibit import find_labels, load_museum, no_such_exhibit
    from lab.practise.showing import run_exhibit

    found = find_labels(asked, labels)
    if not found and not did_you_mean(asked, [label.name for label in labels]):
        said = {name: run_exhibit(exhibit).shows.message.lower() for name, exhibit in load_museum().items()}
        found = [label for label in labels if " ".join(asked.lower().split()) in said[label.name]]
    if not found:
        raise no_such_exhibit(asked, labels)
    return tuple(found)


def _list(labels: tuple[Label, ...], console: Console) -> None:
    """Print a line for each exhibit."""
    from rich.text import Text

    width = max(len(label.name) for label in labels)
    for label in labels:
        words = textwrap.shorten(label.words, _COLUMNS - width - 4, placeholder=" …")
        console.print(Text.assemble("  ", (f"{label.name:<{width}}", "bold"), f"  {words}"), soft_wrap=True)
    console.print(f"\nSee one, run here: {typed()} errors {labels[0].name}", soft_wrap=True, markup=False)


def _show(showing: Showing, version: str, console: Console) -> None:
    """Print all that there is to say about one exhibit."""
    shows, mend, advice = showing.shows, showing.mend, showing.advice
    _print_text(showing.name, f"({version})", console)
    _print_text("", showing.told, console, style="red")
    _print_text("", f"\n{shows.says}", console)
    _print_code(shows, console)
    _print_text("Why.", shows.why, console)
    _print_text("\nMend.", mend.says, console)
    _print_code(mend, console)
    if advice:
        _print_text("Often advised, and no mend:", f"{advice.says} {advice.why}", console)
        _print_code(advice, console)


def _print_others(showing: Showing, labels: tuple[Label, ...], console: Console) -> None:
    """Print which exhibits have the same message, and whose message the advice ends in."""
    from lab.practise.exhibit import known_as

    advised = known_as(showing.advice.message, labels) if showing.advice else []
    if showing.advice and showing.advice.message:
        more = f" More: {typed()} errors {advised[0].name}" if advised else ""
        _print_text("The advice ends in", f"{showing.advice.opening}{more}", console)
    others = [label.name for label in known_as(showing.shows.message, labels) if label.name != showing.name]
    if others:
        _print_text("The same message:", f"{', '.join(others)}.", console)


def _print_text(head: str, text: str, console: Console, *, style: str = "") -> None:
    """Print a paragraph at the console's width; rich would leave a space at the end of its lines."""
    from rich.text import Text

    lines = textwrap.wrap(f"{head} {text}".strip(" "), console.width, replace_whitespace=False, break_on_hyphens=False)
    told = Text("\n".join(lines), style=style)
    told.stylize("bold", 0, len(head))
    console.print(told, soft_wrap=True)


def _print_code(scene: Scene, console: Console) -> None:
    """Print code indented and highlighted, without the spaces that rich puts behind its lines."""
    from rich.syntax import Syntax

    code = Syntax("", "python", theme="ansi_dark", background_color="default")
    console.print()
    console.print(code.highlight(textwrap.indent(scene.noted, "  ")), soft_wrap=True)
