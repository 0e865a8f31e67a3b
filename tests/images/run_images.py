"""The images and the compose file that ship, in a real engine: `make test-images`. Slow, and no part of `make test`."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_host import IMAGE, UID, Host, engine_fixture, host_fixture  # noqa: F401  # pytest finds fixtures by import

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "let me in"
STOP_S = 5.0
SERVICES = {"jupyter": "8888", "report": "8080"}


@pytest.fixture(scope="module")
def listening(host: Host) -> Iterator[dict[str, str]]:
    """JupyterLab and the report, healthy; their addresses."""
    start = time.monotonic()
    started = host.compose("up", "--detach", "--wait", "jupyter", "report")
    assert started.code == 0, started.out + host.compose("logs").out
    print(f"\nhealthy in {time.monotonic() - start:.1f} s")
    yield {name: f"http://{host.docker('compose', 'port', name, port)}" for name, port in SERVICES.items()}
    host.compose("down")


def fetch(url: str, *, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """Return status, headers and body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, method=method, headers=named, data=b"{}" if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def inspect(host: Host, name: str) -> dict[str, Any]:
    """Return what docker knows of an image or a container."""
    found: dict[str, Any] = json.loads(host.docker("inspect", name))[0]
    return found


@pytest.mark.parametrize("profile", ["cpu", "cuda", "cluster", "commands"])
def test_each_profile_is_complete(host: Host, profile: str) -> None:
    answer = host.compose("config", "--quiet", COMPOSE_FILE="docker-compose.yml", COMPOSE_PROFILES=profile)
    assert (answer.code, answer.out) == (0, "")


def test_bake_has_both_variants_for_each_platform(host: Host) -> None:
    words = ["buildx", "bake", "--file", "docker-bake.hcl", "--print"]
    answer = host.type("docker", *words, PLATFORMS="linux/amd64,linux/arm64")
    targets = json.loads(answer.out[answer.out.index("{") :])["target"]
    assert {name: target["args"]["TORCH_VARIANT"] for name, target in targets.items()} == {
        "lab-cpu": "cpu",
        "lab-cuda": "cuda",
    }
    assert {len(target["platforms"]) for target in targets.values()} == {2}


def test_the_image_says_what_it_is(host: Host) -> None:
    config = inspect(host, f"{IMAGE}:cpu")["Config"]
    labels = config["Labels"]
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{labels["org.opencontainers.image.version"]}"' in project
    assert labels["org.opencontainers.image.revision"] == "tested"
    assert labels["gradient-lab.variant"] == "cpu"
    assert f"\ntorch=={labels['gradient-lab.torch']}+cpu " in (ROOT / "requirements/cpu.txt").read_text()
    assert inspect(host, f"{IMAGE}:cpu")["Size"] < 1.1e9
    assert (config["User"], config["Entrypoint"][0]) == ("1000:1000", "tini")
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_the_image_has_neither_pip_nor_compiler_nor_cache_nor_a_file_that_others_may_write(host: Host) -> None:
    script = """
        for program in pip pip3 gcc cc g++ make git curl; do command -v $program; done
        find / -xdev -path '*/site-packages/pip' -o -xdev -path /root/.cache -o -xdev -name 'apt*.log'
        find / -xdev -perm /6000 -type f
        find / -xdev -perm -0002 ! -type l ! -type c ! -perm -1000
        ls -A /var/lib/apt/lists /var/cache/apt
    """
    words = ["run", "--rm", "--user", "0", "--entrypoint", "sh", f"{IMAGE}:cpu", "-c", script]
    said = host.docker(*words).replace("/var/lib/apt/lists:", "").replace("/var/cache/apt:", "")
    assert said.split() == []


def test_the_list_of_what_is_inside_agrees_with_the_lock(host: Host) -> None:
    listed = json.loads(host.docker("run", "--rm", "--entrypoint", "cat", f"{IMAGE}:cpu", "sbom.cdx.json"))
    inside = {(each["name"].lower().replace("_", "-"), each["version"]) for each in listed["components"]}
    lock = (ROOT / "requirements/cpu.txt").read_text()
    assert len(inside) > 100
    assert inside - set(re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock, re.MULTILINE)) == set()
    assert "torch" in dict(inside)


def test_the_tour_passes_for_nobody_read_only_and_without_network(host: Host) -> None:
    toured = host.compose("run", "--rm", "--no-TTY", "tour")
    assert toured.code == 0, toured.out
    verdict = json.loads((host.folder / "outputs/tour/latest/tour.json").read_text())
    assert [(part["name"], part["verdict"]) for part in verdict["parts"]] == [
        (name, "pass") for name in ("doctor", "lesson", "exercises", "notebooks", "verify")
    ]
    made = [path for path in (host.folder / "outputs").rglob("*") if path.name != ".gitignore"]
    assert {path.lstat().st_uid for path in made} == {UID}
    print(f"\ntour: {toured.seconds:.0f} s")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["lesson", "-p", "x=3"], 0, "Gradients beside their references"),
        (["exercises", "check", "ex01"], 1, "not begun|NotImplementedError|nothing"),
        (["lesson", "-p", "x=abc"], 2, "'abc'"),
        (["verify", "--quick", "--device", "cuda"], 3, "'cuda' is not there"),
    ],
)
def test_a_command_says_and_exits_as_outside(host: Host, words: list[str], code: int, said: str) -> None:
    answer = host.run("lab", *words)
    assert answer.code == code, answer.out
    assert re.search(said, answer.out), answer.out
    assert "Traceback" not in answer.out


def test_a_container_may_do_nothing_that_the_lab_does_not_need(host: Host) -> None:
    script = """
        id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status | cut -f 2
        ls /sys/class/net; touch /lab/x /opt/x /x 2>&1 | grep -c 'Read-only'
        touch outputs/x workspace/x /tmp/x && rm outputs/x workspace/x && echo written
    """
    answer = host.compose("run", "--rm", "--no-TTY", "--entrypoint", "sh", "lab", "-c", script)
    assert answer.out.split() == [str(UID), "0000000000000000", "1", "lo", "3", "written"], answer.out


def test_folders_of_another_owner_are_one_sentence_that_says_what_to_write_into_env(host: Host) -> None:
    answer = host.compose("run", "--rm", "--no-TTY", "lab", "lesson", LAB_UID="12346", LAB_GID="12346")
    assert answer.code == 5
    assert "as user 12346" in answer.out
    assert ".env (LAB_UID, LAB_GID)" in " ".join(answer.out.split())


def test_what_was_finished_is_kept_when_a_sweep_is_stopped(host: Host) -> None:
    words = ["run", "notebooks/05_gradients.ipynb", "-p", "x=-1:1:0.25"]
    host.compose("run", "--detach", "--name", "lab-test-sweep", "lab", *words)
    finished = host.folder / "outputs/05_gradients"
    before = len(list(finished.glob("[0-9a-f]*")))
    deadline = time.monotonic() + 120
    while len(list(finished.glob("[0-9a-f]*"))) == before:
        assert time.monotonic() < deadline, host.docker("logs", "lab-test-sweep")
        time.sleep(0.1)
    start = time.monotonic()
    host.docker("stop", "--time", "20", "lab-test-sweep")
    seconds = time.monotonic() - start
    assert seconds < STOP_S
    assert inspect(host, "lab-test-sweep")["State"]["ExitCode"] == 143
    host.docker("rm", "lab-test-sweep")
    records = [json.loads(path.read_text()) for path in finished.glob("[0-9a-f]*/run.json")]
    kept = sum(record["status"] == "completed" for record in records)
    assert kept > before
    again = host.run("lab", *words)
    assert again.code == 0, again.out
    assert re.search(r"completed, [1-9]\d* finished", again.out), again.out


def test_jupyter_lets_in_who_has_the_token_alone(listening: dict[str, str]) -> None:
    address = listening["jupyter"]
    assert address.startswith("http://127.0.0.1:")
    assert fetch(f"{address}/api/contents")[0] == 403
    assert fetch(f"{address}/api/contents", Authorization="token wrong")[0] == 403
    status, _, body = fetch(f"{address}/api/contents", Authorization=f"token {TOKEN}")
    assert status == 200
    assert {"05_gradients.ipynb", "05_exercises.ipynb"} <= {each["name"] for each in json.loads(body)["content"]}
    assert fetch(f"{address}/lab", Authorization=f"token {TOKEN}")[0] == 200


def test_jupyter_refuses_a_foreign_name_and_a_form_from_elsewhere(listening: dict[str, str]) -> None:
    address = listening["jupyter"]
    assert fetch(f"{address}/api", Host="evil.invalid")[0] == 403
    logged_in = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    assert logged_in.open(f"{address}/lab?{urllib.parse.urlencode({'token': TOKEN})}", timeout=30).status == 200
    assert logged_in.open(f"{address}/api/contents", timeout=30).status == 200  # a cookie is enough to look
    with pytest.raises(urllib.error.HTTPError, match="403"):
        logged_in.open(urllib.request.Request(f"{address}/api/kernels", data=b"{}"), timeout=30)


def test_jupyter_s_kernels_are_forked(host: Host, listening: dict[str, str]) -> None:
    words = ["exec", "--no-TTY", "jupyter", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]
    before = host.compose(*words).out
    status, _, body = fetch(f"{listening['jupyter']}/api/kernels", method="POST", Authorization=f"token {TOKEN}")
    assert status == 201, body
    after = host.compose(*words).out
    assert after.count("lab.warm.parent") > before.count("lab.warm.parent") > 0
    assert "ipykernel_launcher" not in after


def test_the_results_are_files_of_another_origin_that_run_nothing(listening: dict[str, str]) -> None:
    status, headers, body = fetch(listening["report"] + "/")
    assert status == 200
    assert b"05_gradients" in body
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert fetch(listening["report"] + "/", Host="evil.invalid")[0] == 421
    assert fetch(listening["report"] + "/../etc/passwd")[0] in (403, 404)


def test_what_listens_is_reached_from_this_host_alone(host: Host, listening: dict[str, str]) -> None:
    network = json.loads(host.docker("network", "inspect", "lab-test_host-only"))[0]
    assert network["Options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
    for name, port in SERVICES.items():
        container = host.docker("compose", "ps", "--quiet", name)
        bound = inspect(host, container)["NetworkSettings"]["Ports"][f"{port}/tcp"]
        assert {each["HostIp"] for each in bound} == {"127.0.0.1"}


def test_what_listens_ends_in_time_and_leaves_what_was_written(host: Host, listening: dict[str, str]) -> None:
    note = json.dumps({"type": "file", "format": "text", "content": "what I found"}).encode()
    request = urllib.request.Request(f"{listening['jupyter']}/api/contents/note.txt", data=note, method="PUT")
    request.add_header("Authorization", f"token {TOKEN}")
    assert urllib.request.urlopen(request, timeout=30).status == 201
    stopped = host.compose("stop", "--timeout", "20")
    assert stopped.seconds < STOP_S + 1  # the two, and compose itself
    states = [json.loads(line) for line in host.docker("compose", "ps", "--all", "--format", "json").splitlines()]
    assert {state["ExitCode"] for state in states} <= {0, 143}
    written = host.folder / "workspace/notebooks/note.txt"
    assert (written.read_text(), written.stat().st_uid) == ("what I found", UID)


def test_a_host_without_a_gpu_is_told_what_to_type(host: Host) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this host has an NVIDIA driver")
    host.docker("tag", f"{IMAGE}:cpu", f"{IMAGE}:cuda")  # whose torch the check does not need
    answer = host.compose("up", "--no-build", COMPOSE_PROFILES="cuda", COMPOSE_FILE="docker-compose.yml")
    assert answer.code != 0
    assert "COMPOSE_PROFILES=cpu docker compose up" in " ".join(answer.out.split())
    host.compose("down", COMPOSE_PROFILES="cuda")


def test_a_device_reaches_the_service_that_asks_for_all(host: Host) -> None:
    if "BASE" not in host.env or host.env["BASE"] != "lab-base":
        pytest.skip("the engine here was not started with a mock device")
    cuda = {"COMPOSE_PROFILES": "cuda", "COMPOSE_FILE": "docker-compose.yml:tests/images/mock-gpu.yml"}
    words = ["run", "--rm", "--no-TTY", "--no-deps", "--entrypoint", "sh", "lab-cuda", "-c"]
    answer = host.compose(*words, "echo $MOCK_GPU; ls /dev/nvidia0; lab doctor --device cuda", **cuda)
    assert "\nall\n/dev/nvidia0\n" in f"\n{answer.out}"
    assert answer.code == 3  # the device is a mock


def test_a_cluster_of_the_image_runs_a_grid(host: Host) -> None:
    up = host.compose("up", "--detach", "--wait", "scheduler", "worker", COMPOSE_PROFILES="cluster")
    assert up.code == 0, up.out
    words = ["run", "notebooks/05_gradients.ipynb", "-p", "x=4,5", "--dask", "tcp://scheduler:8786"]
    answer = host.run("driver", *words)
    assert answer.code == 0, answer.out + host.compose("logs", "worker", COMPOSE_PROFILES="cluster").out
    records = [json.loads(path.read_text()) for path in (host.folder / "outputs/05_gradients").glob("*/run.json")]
    assert {4.0, 5.0} <= {record["parameters"]["x"] for record in records if record["status"] == "completed"}
    host.compose("down", COMPOSE_PROFILES="cluster")


def test_two_builds_give_the_same_bytes(host: Host) -> None:
    first, second = (_exported(host, *options) for options in ([], ["--no-cache"]))
    assert len(first) > 10_000
    assert {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)} == set()


def _exported(host: Host, *options: str) -> dict[str, str]:
    """Build the image's files; return each with a digest of its content, its mode, its owner and its time."""
    command = [*host.build, *options, "--output", "type=tar,rewrite-timestamp=true,dest=-", "."]
    start, found = time.monotonic(), {}
    with subprocess.Popen(command, cwd=host.folder, env=host.env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for each in archive:
                content = archive.extractfile(each) if each.isreg() else None
                facts = (each.type, each.mode, each.uid, each.gid, each.mtime, each.linkname)
                digest = hashlib.sha256(repr(facts).encode())
                digest.update(content.read() if content else b"")
                found[each.name] = digest.hexdigest()
    assert process.returncode == 0
    print(f"\nbuilt and read in {time.monotonic() - start:.0f} s")
    return found
