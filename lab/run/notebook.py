"""A notebook as it lies on the disk: read once, checked before anything runs."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.errors import StorageError, UsageError, did_you_mean
from lab.parameters import Parameter, read_parameters
from lab.store import digest

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Notebook:
    """One notebook. path: as it was named. digest: of its bytes. data: what it holds. parameters:
    those of its tagged cell.
    """

    path: Path
    digest: str
    data: dict[str, Any]
    parameters: dict[str, Parameter]

    @property
    def name(self) -> str:
        """The file's name without its ending, which its results are filed under."""
        return self.path.stem


def read_notebook(path: Path) -> Notebook:
    """Read a notebook as far as its parameters need; check_notebook looks at the rest.

    Raises: UsageError where it is missing, no notebook, or of another format than 4; ParameterError where a
    default is outside its own limits; StorageError where it may not be read.
    """
    # The name becomes a folder of the store, where a leading dot means private or, twice, the folder above.
    if path.suffix != ".ipynb" or path.name.startswith("."):
        raise _malformed(path, "its name does not end in .ipynb, or starts with a dot")
    raw = _read_bytes(path)
    data = _parsed(path, raw)
    tagged = [cell for cell in data["cells"] if "parameters" in _tags(cell)]
    if len(tagged) > 1 or any(cell.get("cell_type") != "code" for cell in tagged):
        raise _malformed(path, f"{len(tagged)} cells are tagged 'parameters', where one code cell may be")
    source = tagged[0].get("source", "") if tagged else ""
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)  # lines, or all in one
    return Notebook(path, digest(raw), data, read_parameters(text, where=str(path)))


def _tags(cell: dict[str, Any]) -> Any:
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return tags if isinstance(tags, list) else ()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        beside = sorted(file.stem for file in path.parent.glob("*.ipynb"))
        raise UsageError(
            f"There is no notebook {str(path)!r}.",
            f"Its folder has {', '.join(f'{name}.ipynb' for name in beside) or 'none'}.",
            did_you_mean(path.stem, beside) or "Name a file that ends in .ipynb.",
        ) from None
    except OSError as error:
        raise StorageError(
            f"Could not read {path}: {error.strerror}.",
            "Expected a file that this user may read.",
            "Give this user the file (chown, chmod), or name another.",
        ) from None


def _parsed(path: Path, raw: bytes) -> dict[str, Any]:
    """Return the notebook as plain data, in which there are cells. Raises: UsageError."""
    try:
        data = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _malformed(path, f"byte {error.start} is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _malformed(path, f"it is not JSON ({error})") from None
    if not isinstance(data, dict) or not isinstance(data.get("cells"), list):
        raise _malformed(path, "it holds no cells")
    if data.get("nbformat") != 4 or not isinstance(data.get("nbformat_minor"), int):
        version = f"{data.get('nbformat')}.{data.get('nbformat_minor')}"
        raise _malformed(path, f"its format is {version}, and only 4.x is read")
    if not all(isinstance(cell, dict) for cell in data["cells"]):
        raise _malformed(path, "one of its cells is no cell")
    return data


def check_notebook(notebook: Notebook) -> Notebook:
    """Return the notebook with missing cell ids mended, once it follows its format and is in Python.

    Raises: UsageError.
    """
    from lab.run.lean import nbformat  # which takes longer to import than a misspelt parameter need wait

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a missing cell id is mended here as papermill would mend it
        _, data = nbformat.validator.normalize(notebook.data)
        problem = next(nbformat.validator.iter_validate(data), None)
    if _SURROGATE.search(json.dumps(data, ensure_ascii=False)):
        raise _malformed(notebook.path, "it holds text that is no Unicode (half of a surrogate pair)")
    if problem is not None:
        where = "/".join(map(str, problem.absolute_path))
        raise _malformed(notebook.path, f"{where or 'its top level'}: {problem.message.splitlines()[0][:200]}")
    language = _language(data["metadata"])
    if language != "python":
        raise _malformed(notebook.path, f"it is written in {language}, not in Python")
    return replace(notebook, data=dict(data))


def _language(metadata: dict[str, Any]) -> str:
    kernel, info = metadata.get("kernelspec", {}), metadata.get("language_info", {})
    return str(info.get("name") or kernel.get("language") or "python").lower()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _malformed(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{str(path)!r} cannot be run: {why}.",
        "Expected a notebook of format 4, in Python, as Jupyter saves it.",
        "Open it in Jupyter and save it again, or restore it ('git checkout FILE').",
    )
