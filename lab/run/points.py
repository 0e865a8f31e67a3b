"""The points of a grid that a file lists: CSV with a header, or JSON lines, each row one point."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError, StorageError, UsageError, did_you_mean
from lab.parameters import Parameter, Value, check_names, shortened

# A header of names, then the rows, each with the number of its line.
_Table = Iterator[tuple[int, Sequence[Any]]]


@dataclass(frozen=True)
class Points:
    """The rows of a file: what the named parameters are at each point."""

    names: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    @property
    def count(self) -> int:
        """How many points there are."""
        return len(self.rows)

    @property
    def varied(self) -> tuple[str, ...]:
        """The names that take more than one value."""
        columns = zip(self.names, zip(*self.rows, strict=True), strict=True)
        return tuple(name for name, column in columns if len(set(map(repr, column))) > 1)

    def __iter__(self) -> Iterator[tuple[Value, ...]]:
        return iter(self.rows)


def read_points(path: Path, parameters: Mapping[str, Parameter], *, where: str) -> Points:
    """Read a file's points, each value in its parameter's type. where: the notebook, for the error.

    Raises: UsageError where it is missing or malformed (a ParameterError for a parameter), DeviceUnavailable,
    StorageError where it may not be read.
    """
    read = _FORMATS.get(path.suffix.lower())
    if read is None:
        raise _malformed(path, f"its name ends in none of {', '.join(_FORMATS)}")
    table = read(path, _read_text(path))
    line, header = next(table, (0, ()))
    names = tuple(header)
    with_line = f"{path}, line {line}"
    if not names:
        raise _malformed(with_line if line else path, "it names no parameter" if line else "it is empty")
    if len(set(names)) < len(names):
        raise _malformed(with_line, "a column is there twice")
    check_names(parameters, names, where=f"{with_line}: {where}")
    rows = tuple(_rows(path, [parameters[name] for name in names], table))
    if not rows:
        raise _malformed(path, "it has a header and no rows")
    return Points(names, rows)


def _rows(path: Path, columns: Sequence[Parameter], table: _Table) -> Iterator[tuple[Value, ...]]:
    lines: dict[str, int] = {}
    for line, cells in table:
        if len(cells) != len(columns):
            raise _malformed(f"{path}, line {line}", f"it has {len(cells)} values, and the header {len(columns)} names")
        try:
            row = tuple([column.validate(cell) for column, cell in zip(columns, cells, strict=True)])
        except LabError as error:
            raise type(error)(f"{path}, line {line}: {error.happened}", error.expected, "Mend that line.") from None
        first = lines.setdefault(repr(row), line)
        if first != line:
            raise _malformed(f"{path}, line {line}", f"it is the point of line {first} once more")
        yield row


def _csv_table(path: Path, text: str) -> _Table:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from ((reader.line_num, row) for row in reader if row)  # an empty line has no cell
    except csv.Error as error:
        raise _malformed(f"{path}, line {reader.line_num}", f"it is not CSV ({error})") from None


def _json_table(path: Path, text: str) -> _Table:
    names: list[str] | None = None
    for line, source in enumerate(text.split("\n"), 1):  # splitlines would split within strings
        if not source.strip():
            continue
        point = _json_object(f"{path}, line {line}", source)
        if names is None:
            names = list(point)
            yield line, names
        if point.keys() != set(names):
            odd = sorted(point.keys() ^ set(names))[0]
            raise _malformed(f"{path}, line {line}", f"{shortened(odd)} is not in every line")
        yield line, [point[name] for name in names]


def _json_object(where: str, source: str) -> dict[str, Any]:
    try:
        point = _DECODER.decode(source)
    except (ValueError, RecursionError) as error:
        raise _malformed(where, f"it is not JSON ({error})") from None
    if not isinstance(point, dict):
        raise _malformed(where, "it is no object")
    return point


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_pairs)  # loads makes one a call
_FORMATS: dict[str, Callable[[Path, str], _Table]] = {
    ".csv": _csv_table,
    ".jsonl": _json_table,
    ".ndjson": _json_table,
    ".json": _json_table,
}


def _read_text(path: Path) -> str:
    raw = _read_bytes(path)
    try:
        return raw.decode("utf-8-sig")  # a spreadsheet begins its UTF-8 with a byte order mark
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _malformed(f"{path}, line {line}", f"byte {error.start} of the file is not UTF-8") from None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):  # a name with a null character
        beside = sorted(file.name for ending in _FORMATS for file in path.parent.glob(f"*{ending}"))
        raise UsageError(
            f"There is no file {str(path)!r}.",
            f"Its folder has {', '.join(beside) or 'no file of points'}.",
            did_you_mean(path.name, beside) or f"Name a file that ends in {', '.join(_FORMATS)}.",
        ) from None
    except OSError as error:
        raise StorageError(
            f"Could not read {path}: {error.strerror}.",
            "Expected a file that this user may read.",
            "Give this user the file (chown, chmod), or name another.",
        ) from None


def _malformed(where: Path | str, why: str) -> UsageError:
    return UsageError(
        f"{where}: {why}.",
        "Expected CSV in UTF-8 with a header of parameter names, or JSON lines (an object each); each point once.",
        "Mend the file.",
    )
