"""`lab serve` as a browser and an attacker meet it: a process of its own on a loopback port, real requests."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fixtures.runs import write_run

from lab.report.serve import FILE_POLICY, PAGE_POLICY
from lab.report.shelf import RUNS, Shelf
from lab.report.tour import Command, PartResult, publish_tour, tour_result
from lab.run.index import INDEX
from lab.store import publishing

ROOT = Path(__file__).resolve().parents[1]
SERVE = [sys.executable, "-m", "lab", "serve"]
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
EVIL = "<img src=x onerror=alert(1)>"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    port: int
    line: str

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Send a path as it is, with these headers; Host is what a browser on this machine sends."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[Server]:
    command = [*SERVE, "--port", "0", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.match(r"http://[^ ]+:(\d+)/ ", line)
            assert found, process.communicate(timeout=10)
            yield Server(process, int(found[1]), line)
        finally:
            process.kill()


def publish(outputs: Path, subject: str, key: str, files: Mapping[str, str]) -> Path:
    with publishing(outputs, subject, key) as publication:
        for name, text in files.items():
            publication.write(name, text)
    assert publication.path is not None
    return publication.path


def lesson_json(**changes: object) -> str:
    plain = {"lesson": "05", "status": "completed", "parameters": {"x": 2.0}, "comparisons": [{}]}
    return json.dumps({**plain, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with outputs and, beside them, what must not be handed out."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "private").mkdir()
    (folder / "private" / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "outputs-of-another").mkdir()
    (folder / "outputs-of-another" / "secret.txt").write_text("secret", encoding="utf-8")
    outputs = folder / "outputs"
    publish(outputs, "lesson-05", "a" * 16, {"lesson.json": lesson_json(), "graph.svg": SVG})
    publish(outputs, "verify", "b" * 16, {"index.html": "<p>the map</p>", "verify.json": "{torn"})
    run = write_run(outputs, "nb", parameters={"x": EVIL, "device": "cpu"})
    (run / "nb.html").write_text("<p>the notebook</p><script>alert(1)</script>", encoding="utf-8")
    (run / "digits").write_text("0123456789", encoding="utf-8")
    (run / "data.BIN").write_bytes(b"\x00<script>")
    (run / "page.xhtml").write_text("<script>alert(1)</script>", encoding="utf-8")
    (run / ".hidden").write_text("secret", encoding="utf-8")
    (run / EVIL).write_text("", encoding="utf-8")
    (run / "out").symlink_to(folder / "secret.txt")
    (run / "out-folder").symlink_to(folder / "private")
    (run / "to-hidden").symlink_to(run / ".hidden")
    (run / "nowhere").symlink_to(run / "missing")
    os.mkfifo(run / "pipe")
    partial = outputs / ".partial-xyz"
    partial.mkdir()
    (partial / "run.json").write_text("secret", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder, "--allow-host", "Report") as server:
        yield server


RUN = "/nb/" + "a" * 16


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        (f"{RUN}/nb.html", "text/html; charset=utf-8", "the notebook"),
        ("/verify/latest/index.html", "text/html; charset=utf-8", "the map"),
        ("/lesson-05/latest/graph.svg", "image/svg+xml", "<svg"),
        (f"{RUN}/run.json", "application/json", '"schema"'),
        (f"{RUN}/digits", "application/octet-stream", "0123456789"),
        (f"{RUN}/data.BIN", "application/octet-stream", "<script>"),
        (f"{RUN}/page.xhtml", "application/octet-stream", "<script>"),
    ],
)
def test_a_file_is_handed_out_as_what_its_name_says_and_shut_in(
    server: Server, path: str, kind: str, text: str
) -> None:
    answer = server.ask(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert text in answer.text
    assert answer.headers["Content-Security-Policy"] == FILE_POLICY


@pytest.mark.parametrize("path", ["/", "/nb/", f"{RUN}/nb.html", "/missing", f"{RUN}/../../../secret.txt"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_every_answer_has_the_headers_that_keep_a_browser_in_bounds(server: Server, path: str, method: str) -> None:
    headers = server.ask(path, method).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "script" not in policy  # neither script-src nor allow-scripts
    assert {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))
    assert "sandbox" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-cache"
    assert "Server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/../outputs-of-another/secret.txt",
        f"{RUN}/../../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/nb/%2e%2e/%2e%2e/secret.txt",
        "/..%5csecret.txt",
        "//secret.txt",
        "/%2fetc/passwd",
        "//etc/passwd",
        f"{RUN}/out",
        f"{RUN}/out-folder/",
        f"{RUN}/out-folder/secret.txt",
        f"{RUN}/to-hidden",
        f"{RUN}/.hidden",
        f"{RUN}/%2ehidden",
        "/.partial-xyz/",
        "/.partial-xyz/run.json",
        f"{RUN}/nowhere",
        f"{RUN}/pipe",
        f"{RUN}/missing",
        f"{RUN}/digits/",
        f"{RUN}/digits%00.html",
        f"{RUN}/{'x' * 300}",
        f"{RUN}/%ff",
        "http://127.0.0.1/secret.txt",
    ],
)
def test_nothing_is_handed_out_that_lies_elsewhere_is_hidden_or_is_no_file(server: Server, path: str) -> None:
    answer = server.ask(path)
    if path == f"{RUN}/digits/":  # the same file; nothing is lost by saying so
        assert answer.body == b"0123456789"
        return
    assert answer.status in (403, 404)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(rb"(403: Forbidden|404: Not Found)\.\n", answer.body)


@pytest.mark.parametrize("path", ["/", RUN, f"{RUN}/", "/nb"])
def test_a_listing_names_what_may_be_had_and_nothing_else(server: Server, path: str) -> None:
    text = server.ask(path).text
    names = re.findall(r'<td class="name"><a href="([^"]+)"', text)
    if path == "/":
        assert names == ["/lesson-05/", "/nb/", "/verify/"]
    elif path == "/nb":
        assert names == [f"{RUN}/", "/nb/latest/"]
    else:
        shown = [
            "%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E",
            "data.BIN",
            "digits",
            "nb.html",
            "page.xhtml",
            "run.json",
        ]
        assert names == [f"{RUN}/{name}" for name in shown]
    assert all(server.ask(name).status == 200 for name in names)


class Tags(HTMLParser):
    """The tags of a page, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.loads += [value or "" for name, value in attrs if name == "src"]
        self.links += [value or "" for name, value in attrs if (tag, name) == ("a", "href")]


@pytest.mark.parametrize("path", ["/", f"{RUN}/"])
def test_what_notebooks_have_named_is_text_on_our_pages(server: Server, path: str) -> None:
    answer = server.ask(path)
    assert answer.headers["Content-Security-Policy"] == PAGE_POLICY
    assert "onerror=alert(1)" in answer.text
    tags = Tags(answer.text)
    assert "script" not in tags.names
    assert not [name for name in tags.attributes if name.startswith("on")]
    assert [source for source in tags.loads if not source.startswith("/lesson-05/")] == []


def test_every_link_and_picture_of_the_index_leads_to_something(server: Server) -> None:
    tags = Tags(server.ask("/").text)
    wanted = [link for link in [*tags.links, *tags.loads] if not link.startswith("#")]
    assert f"{RUN}/nb.html" in wanted
    assert "/verify/" + "b" * 16 + "/index.html" in wanted
    assert "/lesson-05/" + "a" * 16 + "/graph.svg" in tags.loads
    assert {link: server.ask(link).status for link in wanted} == dict.fromkeys(wanted, 200)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.2", "report.x", "::1"]
)
def test_a_name_that_it_was_not_given_is_refused(server: Server, host: str) -> None:
    for path in ("/", f"{RUN}/nb.html", "/nb/"):
        answer = server.ask(path, Host=host)
        assert answer.status == 421
        assert "--allow-host" in answer.text
        assert not host or host not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "report", "Report:99"])
def test_a_name_that_it_was_given_is_answered(server: Server, host: str) -> None:
    assert server.ask("/", Host=host).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", f"{RUN}/nb.html", "/missing"])
def test_only_get_and_head_are_answered(server: Server, method: str, path: str) -> None:
    answer = server.ask(path, method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/nb/", f"{RUN}/digits"])
def test_head_says_what_get_would_without_the_body(server: Server, path: str) -> None:
    got, head = server.ask(path), server.ask(path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    kept = ("Content-Length", "Content-Type", "Content-Security-Policy", "Etag")
    assert {name: head.headers[name] for name in kept} == {name: got.headers[name] for name in kept}
    assert int(head.headers["Content-Length"]) == len(got.body)


@pytest.mark.parametrize(
    ("wanted", "status", "body"),
    [("bytes=2-4", 206, b"234"), ("bytes=-3", 206, b"789"), ("bytes=7-", 206, b"789"), ("bytes=99-", 416, b"")],
)
def test_a_part_of_a_file_can_be_had(server: Server, wanted: str, status: int, body: bytes) -> None:
    answer = server.ask(f"{RUN}/digits", Range=wanted)
    assert (answer.status, answer.body) == (status, body)


def test_a_file_that_is_replaced_is_seen_at_once(folder: Path, server: Server) -> None:
    """Also where it is replaced within a second by one of the same size, and was asked for with a date."""
    grades = folder / "outputs" / "grades.csv"
    tags = []
    for text in ("one", "two"):
        grades.with_name("new").write_text(text, encoding="utf-8")
        os.utime(grades.with_name("new"), ns=(10**18 + len(tags), 10**18 + len(tags)))
        grades.with_name("new").replace(grades)
        answer = server.ask("/grades.csv?v=1", If_Modified_Since="Sat, 01 Jan 2050 00:00:00 GMT")
        assert (answer.status, answer.text) == (200, text)
        assert "Expires" not in answer.headers
        tags.append(answer.headers["Etag"])
    assert server.ask("/grades.csv", If_None_Match=tags[1]).status == 304
    assert server.ask("/grades.csv", If_None_Match=tags[0]).status == 200
    grades.unlink()


def test_an_address_of_two_slashes_leads_nowhere_else(server: Server) -> None:
    for path in ("//evil.example", "//evil.example/", "//evil.example/%2e%2e", "/\\evil.example"):
        answer = server.ask(path)
        assert answer.status in (403, 404)
        assert "Location" not in answer.headers


def test_it_writes_nothing(folder: Path, server: Server) -> None:
    server.ask("/")
    assert not (folder / "outputs" / INDEX).exists()


def test_a_folder_that_is_not_there_yet_gets_a_page_that_says_what_to_type(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        answer = server.ask("/")
        assert answer.status == 200
        assert "Nothing is here yet" in answer.text
        assert "lab tour" in answer.text
        assert server.ask("/nb/").status == 404
        write_run(tmp_path / "outputs", "nb")
        assert "Nothing is here yet" not in server.ask("/").text
        assert server.ask(f"{RUN}/").status == 200


def test_a_tour_is_shown_with_its_parts(tmp_path: Path) -> None:
    parts = [
        PartResult("doctor", (Command(("doctor",), 0),), (), 1.0),
        PartResult("verify", (Command(("verify",), 1),), ("verify/key",), 1.5),
    ]
    publish_tour(tour_result(parts, "cpu", quick=True, started="2026-01-02T03:04:05.678+00:00"), tmp_path)
    text = re.sub(r"<[^>]+>|\s+", " ", Shelf(tmp_path).index())
    assert re.search(r"✗ +fail +cpu +quick", text)
    assert re.search(r"✓ +pass +doctor +✗ +fail +verify +verify", text)


def test_only_the_newest_runs_are_on_the_page_and_the_others_are_counted(tmp_path: Path) -> None:
    for number in range(RUNS + 5):
        write_run(tmp_path, "nb", day=1 + number % 28, key=f"{number:016x}")
    shelf = Shelf(tmp_path)
    text = shelf.index()
    assert text.count(">files</a>") == RUNS
    assert "And 5 before them" in text
    assert shelf.index() == text


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"verdict": 3}', "\udcff", "[" * 100_000])
@pytest.mark.parametrize("place", ["verify/k/verify.json", "tour/k/tour.json", "lesson-x/k/lesson.json", "grades.json"])
def test_a_result_that_cannot_be_read_breaks_no_page(tmp_path: Path, place: str, content: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    text = Shelf(tmp_path).index()
    assert ("unreadable" in text) is (place != "grades.json")


def test_a_name_of_any_bytes_is_listed_and_can_be_had(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff name\n.txt")
    path = tmp_path / "outputs" / "files" / name
    path.parent.mkdir(parents=True)
    path.write_text("here", encoding="utf-8")
    with serving(tmp_path) as server:
        (link,) = re.findall(r'<td class="name"><a href="([^"]+)"', server.ask("/files/").text)
        assert server.ask(link).text == "here"


AS_ANOTHER = """
import os, sys
from pathlib import Path
from lab.report.shelf import Shelf
Shelf(Path("nowhere")).index()  # reads the templates
shelf = Shelf(Path("outputs"))
if os.getuid() == 0:
    os.setuid(65534)
print(shelf.index())
"""


def test_what_this_user_may_not_read_breaks_no_page(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    shut = write_run(tmp_path / "outputs", "shut")
    write_run(tmp_path / "outputs", "open")
    publish(tmp_path / "outputs", "verify", "k", {"verify.json": "{}"}).chmod(0)
    shut.chmod(0)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", AS_ANOTHER]
    page = subprocess.run(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    shut.chmod(0o755)
    assert ">files</a>" in page
    assert page.count('<td class="name">open</td>') == 1
    assert '<td class="name">shut</td>' not in page


@pytest.mark.parametrize(
    ("sent", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_it_at_once_though_a_browser_keeps_its_connection(
    tmp_path: Path, sent: signal.Signals, code: int, word: str
) -> None:
    with serving(tmp_path) as server:
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        kept.request("GET", "/")
        kept.getresponse().read()
        server.process.send_signal(sent)
        told, complaint = server.process.communicate(timeout=5)
        kept.close()
    assert server.process.returncode == code
    assert (told, complaint) == ("", f"lab: {word}\n")


def refused(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*SERVE, *words], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_port_in_use_is_a_message(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = refused(tmp_path, "--port", str(taken.getsockname()[1]))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "Address already in use" in answer.stderr
    assert "--port" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    "words", [["--host", "no-such-host.invalid"], ["--host", "192.0.2.1"], ["--port", "70000"], ["--outputs", "file"]]
)
def test_what_cannot_be_served_is_a_message(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "file").touch()
    answer = refused(tmp_path, *words)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "Traceback" not in answer.stderr
    assert words[0] in answer.stderr
