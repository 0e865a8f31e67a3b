"""What bench/run.py starts from cold, each in a process of its own: a pool, ploomber-engine and the floor.

    python bench/run_peers.py pool|ploomber|floor NOTEBOOK FOLDER X…

prints one line of JSON, the row of each run in the order of X. What a way needs is imported when it is taken, so that
no way pays for another. PYTHONPATH names the checkout, for ploomber what it is installed in, for the floor this folder.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

GIVEN = {"device": "cpu", "dtype": "float32"}
WORKERS = 2


def papermill_one(notebook: str, folder: str, x: float) -> dict[str, Any]:
    """Run papermill's function in a worker of the pool. ended: when, to tell the start of the pool from its pace."""
    from papermill import execute_notebook

    execute_notebook(notebook, f"{folder}/{x}.ipynb", parameters={"x": x, **GIVEN}, progress_bar=False)
    return {"ended": time.time()}


def pool(notebook: str, folder: str, xs: list[float]) -> list[dict[str, Any]]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as workers:
        return list(workers.map(papermill_one, [notebook] * len(xs), [folder] * len(xs), xs))


def ploomber(notebook: str, folder: str, xs: list[float]) -> list[dict[str, Any]]:
    """Run ploomber-engine. Its shell is no kernel, so the lesson draws its pictures without displaying them."""
    from ploomber_engine import execute_notebook

    rows = []
    for x in xs:
        execute_notebook(notebook, f"{folder}/{x}.ipynb", parameters={"x": x, **GIVEN}, progress_bar=False)
        from lab.teach.stage import current_stage  # the cells have imported it

        rows.append({"pictures": len(current_stage().record.pictures)})
        current_stage().record.pictures.clear()
    return rows


def floor(notebook: str, folder: str, xs: list[float]) -> list[dict[str, Any]]:
    """Execute the code cells in forks of a warm parent, two at a time, with neither Jupyter nor IPython."""
    from concurrent.futures import ThreadPoolExecutor

    from lab.warm import Warm

    modules = ("torch", "matplotlib.figure", "matplotlib.backends.backend_svg", "lab.device", "lab.teach.show")
    with Warm(*modules) as warm, ThreadPoolExecutor(WORKERS) as threads:

        def one(x: float) -> dict[str, Any]:
            with warm.fork("run_peers:execute_cells", notebook=notebook, x=x) as connection:
                answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            return dict(json.loads(answer)) if answer else {"error": "the fork ended without an answer"}

        return list(threads.map(one, xs))


def execute_cells(connection: socket.socket, notebook: str, x: float) -> None:
    """Execute a notebook's code cells as plain code in this fork, and answer with what they printed and drew."""
    import contextlib
    import io

    from lab.teach.stage import current_stage

    cells = [c for c in json.loads(Path(notebook).read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for cell in cells:
            exec("".join(cell["source"]), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                names |= {"x": x, **GIVEN}
    row = {"text": printed.getvalue(), "pictures": len(current_stage().record.pictures)}
    connection.sendall(json.dumps(row).encode())


if __name__ == "__main__":
    way, of, into, *values = sys.argv[1:]
    print(json.dumps({"pool": pool, "ploomber": ploomber, "floor": floor}[way](of, into, [float(x) for x in values])))
