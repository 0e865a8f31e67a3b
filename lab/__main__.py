"""The command line: the only place that prints a verdict or exits. A command imports what it needs when it runs."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from lab import __version__
from lab.console import DeviceOption, DtypeOption, Json, Outputs, SeedOption, make_console, print_json, typed
from lab.errors import INTERRUPTED, TERMINATED, LabError
from lab.errors_command import errors, museum_pages
from lab.exercises_command import exercises_app
from lab.grade_command import grade
from lab.predict_command import predict
from lab.run_command import run
from lab.runs_command import runs_app
from lab.serve_command import serve
from lab.tour_command import tour
from lab.verify_command import golden, verify
from lab.warm_command import warm

app = typer.Typer(
    help="Learn how PyTorch computes gradients, practise until it sticks, prove that your machine does it right.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# The parent of all complaints about the command line: typer exports only its children.
_WrongWords: Any = typer.BadParameter.__base__

Given = Annotated[list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Set a parameter.")]


def _given(parameters: list[str] | None, **options: str | int | None) -> dict[str, object]:
    """Merge -p name=value with the options that are short for one."""
    from lab.parameters import split_assignments

    short = [f"{name}={value}" for name, value in options.items() if value is not None]
    return {**split_assignments([*(parameters or ()), *short])}


@app.command()
def lesson(
    name: Annotated[str, typer.Argument(help="Its number or name; the first without.", show_default=False)] = "",
    parameter: Given = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    seed: SeedOption = None,
    outputs: Outputs = Path("outputs"),
    json: Json = False,
) -> None:
    """Narrate a lesson: prose, code, and each gradient beside its reference."""
    from lab.parameters import settle_device, validate_parameters
    from lab.teach.lessons import find_lesson

    found = find_lesson(name)
    given = _given(parameter, device=device, dtype=dtype, seed=seed)
    parameters = validate_parameters(found.parameters, given, where=f"lesson {found.name}")
    console = make_console(stderr=json)
    console.print(f"lab lesson {found.name}", style="bold")
    console.print(", ".join(f"{name} = {value}" for name, value in parameters.items()))
    # torch is imported from here on, after the first line and every complaint about an argument.
    settle_device(parameters)
    from lab.teach.narrate import narrate
    from lab.teach.terminal import TerminalStage

    with contextlib.redirect_stdout(console.file):
        folder, result = narrate(found, TerminalStage(console), parameters=parameters, outputs=outputs)
    checked = (
        f"Gradients beside their references: {len(result['comparisons'])}. Claims checked: {len(result['claims'])}."
    )
    console.print(f"\n{checked}\nPictures and lesson.json: {folder}", soft_wrap=True)
    if json:
        print_json(result)


@app.command()
def generate(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if one is out of date.")] = False,
    folder: Annotated[Path, typer.Option("--folder", help="Where notebooks are.")] = Path("notebooks"),
    keep: Annotated[bool, typer.Option("--keep", help="Write only those that are not there yet.")] = False,
) -> None:
    """Generate the notebooks from the lessons and the exercises, and docs/errors.md from what torch says here."""
    from lab.practise import exercises_as_percent
    from lab.teach.lessons import discover_lessons
    from lab.teach.notebook import notebook_from_percent, stale_notebooks

    sources = {}
    for lesson in discover_lessons():
        sources[folder / f"{lesson.name}.ipynb"] = lesson.source.read_text("utf-8")
        sources[folder / f"{lesson.number}_exercises.ipynb"] = exercises_as_percent(lesson.folder)
    texts = {path: notebook_from_percent(source) for path, source in sources.items() if source}
    if not keep:  # that is for a learner's copy of the notebooks
        texts |= museum_pages(Path("docs"), check=check)
    stale = stale_notebooks(texts)
    if check and stale:
        raise LabError(
            f"Out of date: {', '.join(map(str, stale))}.",
            "Expected what their sources generate, outputs stripped.",
            "Type 'lab generate' and commit them; it replaces what is there.",
        )
    for path in stale:
        if keep and path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[path], encoding="utf-8")
        print(f"wrote {path}")


@app.command()
def doctor(device: DeviceOption = None, json: Json = False) -> None:
    """Print what results depend on here: torch, Python, devices, driver, threads, precision switches."""
    from lab.device import environment, present_devices, resolve_device

    names = present_devices() if device is None else [str(resolve_device(device))]
    environments = [environment(name) for name in names]
    if json:
        print_json({"lab": __version__, "devices": environments})
        return
    print(f"lab {__version__}")
    for facts in environments:
        print(f"\n{facts['device']}: {facts['device_name']}")
        rows = {
            **{k: v for k, v in facts.items() if k not in ("device", "device_name", "switches")},
            **facts["switches"],
        }
        for key, value in rows.items():
            print(f"  {key.removeprefix('torch.backends.'):<56} {value}")


app.add_typer(exercises_app, name="exercises")
exercises_app.command()(predict)
app.add_typer(runs_app, name="runs")
app.command()(grade)
app.command()(run)
app.command()(verify)
app.command()(golden)
app.command()(errors)
app.command()(tour)
app.command()(serve)
# What follows the command is the command's, options too.
app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(warm)


def _raise_terminated(signum: int, frame: object) -> NoReturn:
    raise SystemExit(TERMINATED)


def _listen() -> None:
    """Let a terminate, and a terminal that is closed, end the command as it ends by itself."""
    signal.signal(signal.SIGTERM, _raise_terminated)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, _raise_terminated)


def main() -> None:
    """Run the command line. A mistake becomes one message on stderr and its exit code, never a traceback."""
    _listen()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ✓ shows ? in its place
    try:
        # Not in standalone mode, in which an interrupt would end as "Aborted!" with exit code 1.
        sys.exit(app(prog_name="lab", standalone_mode=False) or 0)
    except LabError as error:
        notes = getattr(error, "__notes__", ())
        _fail("\n  ".join([error.happened, error.expected, error.next_step, *notes]), error.exit_code)
    except _WrongWords as error:
        _fail(f"{error.format_message()}\n  Type '{_command_of(error)} --help' to see what there is.", 2)
    except (KeyboardInterrupt, typer.Abort, SystemExit) as stop:
        # typer makes one of the latter two of an interrupt, depending on its version.
        code = stop.code if isinstance(stop, SystemExit) else INTERRUPTED
        if code == INTERRUPTED:
            _fail("interrupted", INTERRUPTED)
        if code == TERMINATED:
            _fail("terminated", TERMINATED)
        raise
    except BrokenPipeError:
        # The reader, such as head, has seen enough. Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"{error.filename or 'standard output'}: {error.strerror}\n  Expected to be able to write there.", 5)


def _command_of(error: Any) -> str:
    return str(error.ctx.command_path) if error.ctx else "lab"


def _fail(message: str, exit_code: int) -> NoReturn:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    print("lab: " + message.replace("'lab ", f"'{typed()} "), file=sys.stderr)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
