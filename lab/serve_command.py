"""``lab serve``: what lies under outputs/, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.console import Outputs


def serve(
    outputs: Outputs = Path("outputs"),
    host: Annotated[str, typer.Option("--host", help="The address to listen on; 0.0.0.0 is all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8080,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", metavar="NAME", help="Another name a browser may call it by.")
    ] = None,
) -> None:
    """Show what lies under outputs/ in a browser, read only, until Ctrl-C (130) or a terminate (143).

    Answers to localhost, 127.0.0.1, [::1], what --host names and each --allow-host. Nothing that it hands out may run a
    script or load anything from elsewhere.
    """
    from lab.report.serve import check_folder, listen, serve_until_signal

    check_folder(outputs)
    sockets = listen(host, port)
    serve_until_signal(outputs, sockets, host, allow_host or (), ready=_say)


def _say(url: str) -> None:
    print(f"{url} shows what lies under outputs; Ctrl-C ends it", flush=True)
