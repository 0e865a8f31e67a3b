"""The canonical form of an executed notebook: what is left when all that varies from run to run is taken out.

The stored notebook keeps papermill's format. This form is derived from it, so that two runs can be compared byte by
byte: without times and paths, with process ids and addresses of objects made one.
"""

from __future__ import annotations

import copy

from nbformat import NotebookNode, v4
from nbstripout import strip_output

from lab.run.volatile import mask_volatile
from lab.store import digest

# papermill's version and the kernel's name say how a notebook was run, and belong to the environment in run.json.
_VARYING = (
    *(f"metadata.papermill.{key}" for key in ("start_time", "end_time", "duration")),
    *(f"metadata.papermill.{key}" for key in ("input_path", "output_path", "version")),
    *(f"cell.metadata.papermill.{key}" for key in ("start_time", "end_time", "duration")),
    *("metadata.kernelspec", "metadata.language_info", "cell.metadata.execution"),
)


def canonical_notebook(notebook: NotebookNode) -> str:
    """Return an executed notebook as text, the same for two runs that showed the same. The notebook is not changed."""
    copied = copy.deepcopy(notebook)
    for cell in copied.cells:
        for word in ("keep_output", "init_cell"):  # on which nbstripout would drop outputs after all
            cell.metadata.pop(word, None)
        if "outputs" in cell:
            cell["outputs"] = [_settled(output) for output in cell["outputs"]]
    # The cells that papermill adds have random ids, so all of them are numbered.
    strip_output(copied, keep_output=True, keep_count=True, keep_id=False, extra_keys=list(_VARYING))
    return str(v4.writes(copied)) + "\n"


def canonical_digest(notebook: NotebookNode) -> str:
    """Return the digest of the canonical form."""
    return digest(canonical_notebook(notebook).encode("utf-8", "backslashreplace"))


def _settled(output: NotebookNode) -> NotebookNode:
    """Return an output with nothing in its text that names a process, an address or a private folder."""
    for key in ("text", "evalue", "traceback"):
        if key in output:
            output[key] = mask_volatile(output[key])
    for mime, shown in output.get("data", {}).items():
        if mime.startswith("text/"):
            output["data"][mime] = mask_volatile(shown)
    return output
