"""What a container costs: a lesson in one beside the same outside, and the image's sizes, from the image at hand.

Each row is the median of the rounds, which alternate. The image is what `make image` has built; a rebuild after a
change of one source line is timed where BUILD gives the words that build it here.

    make bench-images     or:  python bench/images.py --rounds 9
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = [sys.executable, "-m", "lab", "lesson", "--outputs"]
COMPOSE = ["docker", "compose", "run", "--rm", "--no-TTY", "lab", "lesson", "--outputs", "/tmp/outputs"]
CHUNK = 1 << 20


def seconds(command: list[str]) -> float:
    """Return the wall time of a command. Raises: CalledProcessError: what crashes is fast."""
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return time.perf_counter() - start


def sizes(image: str) -> tuple[int, int]:
    """Return an image's bytes as they lie on a disk, and as `docker save | gzip` gives them."""
    found = json.loads(subprocess.check_output(["docker", "image", "inspect", image]))
    with subprocess.Popen(f"docker save {shlex.quote(image)} | gzip", shell=True, stdout=subprocess.PIPE) as packed:
        assert packed.stdout is not None
        compressed = sum(len(chunk) for chunk in iter(lambda: packed.stdout.read(CHUNK), b""))
    return found[0]["Size"], compressed


def rebuild(words: str) -> float:
    """Return how long a build takes after a line was added to a source file, and take it back."""
    source = ROOT / "lab/__main__.py"
    before = source.read_text("utf-8")
    subprocess.run(words, shell=True, cwd=ROOT, check=True, capture_output=True)
    try:
        source.write_text(f"{before}# {time.time()}\n", encoding="utf-8")
        return seconds(["sh", "-c", words])
    finally:
        source.write_text(before, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--image", default="gradient-lab:cpu")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as outputs:
        ways = {"lab lesson": [*OUTSIDE, outputs], "docker compose run --rm lab lesson": COMPOSE}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(asked.rounds + 1):
            for name, command in ways.items():
                taken = seconds(command)
                if number:  # the first warms the disk cache
                    times[name].append(taken)
    floor = statistics.median(times["lab lesson"])
    for name, values in times.items():
        print(f"{name:<36} {statistics.median(values):6.2f} s   {statistics.median(values) / floor:5.2f} × outside")
    if words := os.environ.get("BUILD"):
        print(f"{'rebuilt after a change of a source':<36} {rebuild(words):6.2f} s")
    disk, packed = sizes(asked.image)
    print(f"{asked.image:<36} {disk / 1e6:6.0f} MB, {packed / 1e6:.0f} MB compressed")


if __name__ == "__main__":
    main()
