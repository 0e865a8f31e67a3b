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
from lab.errors import INTERRUPTED, TERMINATED, LabError

app = typer.Typer(
    help="Learn how PyTorch computes gradients, practise until it sticks, prove that your machine computes them right.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# The parent of all complaints about the command line: typer exports only its children.
_WrongWords: Any = typer.BadParameter.__base__

Given = Annotated[list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Set a parameter.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps or xpu.")]
DtypeOption = Annotated[str | None, typer.Option("--dtype", help="float64, float32, bfloat16 or float16.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="The seed of whatever is random.")]
Outputs = Annotated[Path, typer.Option("--outputs", help="Where results are published.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable results on stdout, all else on stderr.")]


def _given(parameters: list[str] | None, **options: str | int | None) -> dict[str, object]:
    """Merge -p name=value with the options that are short for one."""
    from lab.parameters import split_assignments

    return {**split_assignments(parameters or ()), **{k: v for k, v in options.items() if v is not None}}


def _print_json(data: Any) -> None:
    from lab.store import write_json

    sys.stdout.write(write_json(data))


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
    from rich.console import Console

    from lab.parameters import validate_parameters
    from lab.teach.lessons import find_lesson

    found = find_lesson(name)
    given = _given(parameter, device=device, dtype=dtype, seed=seed)
    parameters = validate_parameters(found.parameters, given, where=f"lesson {found.name}")
    console = Console(stderr=json, highlight=False)
    console.print(f"lab lesson {found.name}: {', '.join(f'{k} = {v}' for k, v in parameters.items())}", style="bold")
    # torch is imported from here on, after the first line and every complaint about an argument.
    from lab.device import check_dtype, resolve_device
    from lab.teach.narrate import narrate
    from lab.teach.terminal import TerminalStage

    resolved = resolve_device(str(parameters["device"]))
    check_dtype(resolved, str(parameters["dtype"]))
    with contextlib.redirect_stdout(console.file):
        folder, result = narrate(
            found, TerminalStage(console), parameters={**parameters, "device": str(resolved)}, outputs=outputs
        )
    count = f"{len(result['comparisons'])} gradients beside their references, {len(result['claims'])} claims checked"
    console.print(f"\n{count}.\nPictures and lesson.json: {folder}", soft_wrap=True)
    if json:
        _print_json(result)


@app.command()
def doctor(device: DeviceOption = None, json: Json = False) -> None:
    """Print what results depend on here: torch, Python, devices, driver, threads, precision switches."""
    from lab.device import environment, present_devices, resolve_device

    names = present_devices() if device is None else [str(resolve_device(device))]
    environments = [environment(name) for name in names]
    if json:
        _print_json({"lab": __version__, "devices": environments})
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


def _raise_terminated(signum: int, frame: object) -> NoReturn:
    raise SystemExit(TERMINATED)


def main() -> None:
    """Run the command line. A mistake becomes one message on stderr and its exit code, never a traceback."""
    signal.signal(signal.SIGTERM, _raise_terminated)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ✓ shows ? in its place
    try:
        # Not in standalone mode, in which an interrupt would end as "Aborted!" with exit code 1.
        sys.exit(app(prog_name="lab", standalone_mode=False) or 0)
    except LabError as error:
        _fail(f"{error.happened}\n  {error.expected}\n  {error.next_step}", error.exit_code)
    except _WrongWords as error:
        _fail(f"{error.format_message()}\n  Type '{error.ctx.command_path} --help' to see what there is.", 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader, such as head, has seen enough. Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _fail(message: str, exit_code: int) -> NoReturn:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    print(f"lab: {message}", file=sys.stderr)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
