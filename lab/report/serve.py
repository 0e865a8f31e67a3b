"""What lies under outputs/ over HTTP, read only: an index page, plain listings of folders, and the files.

Much of it was written by notebooks, so a browser is told to take none of it for more than it is: no script, no form, no
frame, nothing from elsewhere, and each file in an origin of its own (``sandbox``). The paths are tornado's to check:
none leaves outputs, neither by ``..`` nor by a link. What is hidden, such as a result that is being written, is not
there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from lab.errors import UsageError
from lab.report.shelf import Shelf

LOCAL = ("localhost", "127.0.0.1", "[::1]")
_EVERYWHERE = ("", "0.0.0.0", "::")
_STRICT = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Our own pages show pictures of this origin, which those in a sandbox without an origin cannot load.
PAGE_POLICY = f"{_STRICT}; img-src 'self' data:; sandbox allow-same-origin allow-downloads"
FILE_POLICY = f"{_STRICT}; img-src data:; sandbox"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",  # ask each time whether it has changed
}
_TEXT = "text/plain; charset=utf-8"
# A name with another ending is handed out as bytes to keep, never to show.
TYPES = {
    ".html": "text/html; charset=utf-8",
    **dict.fromkeys((".json", ".ipynb"), "application/json"),
    **dict.fromkeys((".csv", ".jsonl", ".log", ".md", ".py", ".txt", ".xml"), _TEXT),
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".gif": "image/gif",
    **dict.fromkeys((".jpg", ".jpeg"), "image/jpeg"),
}
_LIMITS = {"max_header_size": 16_384, "max_body_size": 16_384, "idle_connection_timeout": 60, "body_timeout": 10}


class _Handler(RequestHandler):
    """What all answers have in common. Settings: shelf, hosts."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD")  # type: ignore[misc]  # typed as all of seven

    def set_default_headers(self) -> None:
        """Set the headers of each answer, errors too."""
        self.clear_header("Server")
        for name, value in {**_HEADERS, "Content-Security-Policy": FILE_POLICY}.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse a name that this server was not given: a page from elsewhere may have made it lead here."""
        if self.request.host_name not in self.settings["hosts"]:
            raise HTTPError(HTTPStatus.MISDIRECTED_REQUEST)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer in a line of plain text, in which nothing of the request stands."""
        self.set_header("Content-Type", _TEXT)
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.SUPPORTED_METHODS))
        hint = " Start it with --allow-host NAME." if status_code == HTTPStatus.MISDIRECTED_REQUEST else ""
        self.finish(f"{status_code}: {HTTPStatus(status_code).phrase}.{hint}\n")

    def write_page(self, page: str) -> None:
        """Answer with a page of ours."""
        self.set_header("Content-Type", TYPES[".html"])
        self.set_header("Content-Security-Policy", PAGE_POLICY)
        self.write(page)


class _Index(_Handler):
    """The page that lists what a person wants to see."""

    def get(self) -> None:
        """Answer with what is there now."""
        self.write_page(self.settings["shelf"].index())

    head = get


class _Missing(_Handler):
    """What is no path at all."""

    def prepare(self) -> None:
        """Refuse it."""
        raise HTTPError(HTTPStatus.NOT_FOUND)


class _Files(_Handler, StaticFileHandler):
    """Files and folders below outputs."""

    absolute_path: str | None = None  # of the file; a folder has none

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Return a path as the file system has it: a name there need not be UTF-8."""
        return os.fsdecode(value)

    def head(self, path: str) -> Awaitable[None]:
        """Answer as to GET, without the body."""
        return self.get(path, include_body=False)

    async def get(self, path: str, include_body: bool = True) -> None:
        """Answer with a file, or with the listing of a folder."""
        try:
            if folder := self._folder(path):
                self.write_page(self.settings["shelf"].listing(folder))
            else:
                await super().get(path, include_body)
        except PermissionError:
            raise HTTPError(HTTPStatus.FORBIDDEN) from None
        except (OSError, ValueError):  # it has just been removed; its name is too long, or has a NUL in it
            raise HTTPError(HTTPStatus.NOT_FOUND) from None

    def validate_absolute_path(self, root: str, absolute_path: str) -> str:
        """Return the file itself, links resolved. Raises: HTTPError where it is none, or not to be seen."""
        try:
            found = super().validate_absolute_path(root, absolute_path)
        except HTTPError as error:
            # Where a link leads is nobody's business, so it is as if it were not there.
            raise HTTPError(HTTPStatus.NOT_FOUND) from error
        assert found is not None
        _check_visible(found, root)
        return found

    def _folder(self, path: str) -> PurePosixPath | None:
        """Return the folder of a path, from outputs, or None where it is none. Raises: HTTPError."""
        absolute = self.get_absolute_path(self.root, self.parse_url_path(path))
        if not Path(absolute).is_dir():
            return None
        _check_visible(absolute, self.root)
        return PurePosixPath(os.path.relpath(absolute, self.root))

    def compute_etag(self) -> str | None:
        """Return what changes with the file: tornado's own is computed once, and a file here may be replaced."""
        if self.absolute_path is None:
            return RequestHandler.compute_etag(self)
        about = Path(self.absolute_path).stat()
        return f'"{about.st_mtime_ns:x}-{about.st_size:x}-{about.st_ino:x}"'

    def should_return_304(self) -> bool:
        """Go by the tag alone: a time in seconds misses what is replaced within one."""
        return self.check_etag_header()

    def get_cache_time(self, path: str, modified: Any, mime_type: str) -> int:
        """Return 0: nothing is kept without asking."""
        return 0

    def get_content_type(self) -> str:
        """Return the type of a file, by the end of its name."""
        return TYPES.get(Path(str(self.absolute_path)).suffix.lower(), "application/octet-stream")


def _check_visible(path: str, root: str) -> None:
    """Raise HTTPError for what is not below the root, or hidden there, once links are resolved."""
    parts = PurePosixPath(os.path.relpath(os.path.realpath(path), os.path.realpath(root))).parts
    if any(part.startswith(".") and part != "." for part in parts):
        raise HTTPError(HTTPStatus.NOT_FOUND)


def check_folder(outputs: Path) -> None:
    """Refuse what is no folder; one that is not there yet may come. Raises: UsageError."""
    if outputs.exists() and not outputs.is_dir():
        raise UsageError(
            f"{outputs} is no folder.",
            "Expected where results are published; it need not be there yet.",
            "Name it with --outputs.",
        )


def listen(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen there. Raises: UsageError where that cannot be."""
    try:
        return bind_sockets(port, address=host or None)
    except OSError as error:  # one of them: the host has no address
        where = f"{host}:{port}"
        raise UsageError(
            f"Cannot listen on {where}: {error.strerror}.",
            "Expected an address of this machine, and a port that is free and that this user may take.",
            "Name another one with --port (0 takes a free one) or --host (127.0.0.1 is this machine alone).",
        ) from None


def application(outputs: Path, hosts: Iterable[str]) -> Application:
    """Return the server's application. hosts: the names that it answers to."""
    root = str(outputs.absolute())
    routes = [("/", _Index), ("/(.+)", _Files, {"path": root})]
    return Application(
        routes,  # type: ignore[arg-type]  # typed as a list of rules, which tuples become
        default_handler_class=_Missing,
        log_function=lambda handler: None,
        shelf=Shelf(outputs),
        hosts=frozenset(host.lower() for host in hosts),
    )


def serve_until_signal(
    outputs: Path, sockets: list[socket.socket], host: str, names: Iterable[str], *, ready: Callable[[str], None]
) -> None:
    """Serve until a signal comes, and then let it do what it always does.

    host: what was listened on. names: others that it is called by. ready: is told the address once it answers.
    """
    bound = f"[{host}]" if ":" in host else host
    hosts = [*LOCAL, *names, *([] if host in _EVERYWHERE else [bound])]
    shown = LOCAL[1] if host in _EVERYWHERE else bound
    url = f"http://{shown}:{sockets[0].getsockname()[1]}/"
    received = asyncio.run(_serve(application(outputs, hosts), sockets, lambda: ready(url)))
    signal.raise_signal(received)


async def _serve(app: Application, sockets: list[socket.socket], ready: Callable[[], None]) -> int:
    """Serve until a signal comes, and return its number."""
    loop, received = asyncio.get_running_loop(), asyncio.Queue[int]()
    heard: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in heard}
    for number in [number for number in heard if before[number] is not signal.SIG_IGN]:
        loop.add_signal_handler(number, received.put_nowait, number)
    server = HTTPServer(app, **_LIMITS)
    server.add_sockets(sockets)
    ready()
    try:
        return await received.get()
    finally:
        server.stop()
        await server.close_all_connections()
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
