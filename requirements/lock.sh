#!/bin/sh
# Compiles pyproject.toml into the locks: what the lab needs, with either torch, what only its development needs on top
# of that, and what builds an image; `make lock` calls it and passes on uv's own options, if any.
# What a lock pins stays pinned, hashes and all; UPGRADE=1 lets everything but torch move.
set -eu
cd "$(dirname "$0")"
torch=2.13.0

compile() { "${LAB_BIN:-../.venv/bin}/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes "$@"; }

# lock NAME PIN [OPTION...]: writes beside the lock, so that a failed resolution leaves the lock as it was.
# Pre-releases are out: the newest mpmath would otherwise be bought with a release candidate of sympy.
lock() {
    name=$1 pin=$2
    shift 2
    touch "$name.txt"
    sed -n "${UPGRADE:+/^torch==/,/[^\\\\]\$/}p" "$name.txt" >"$name.txt.new"
    if [ "$name $places" = "cpu $page" ] && ! grep -q "^torch==$pin " cpu.txt; then
        # uv reads hashes from an index but not from a page: ask the index once, for torch alone.
        echo "torch==$pin" | compile - --no-deps --index "$TORCH_INDEX" >>cpu.txt.new
    fi
    echo "torch==$pin" | compile --constraints - \
        --only-binary :all: --prerelease disallow --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make lock" --output-file "$name.txt.new" "$@"
}

# pinned FORMAT: a line for each package that a variant has pinned, for what comes on top of it.
pinned() { sed -n "s/^\([a-z0-9-]*\)==.*/$1/p" cpu.txt.new cuda.txt.new | sort -u; }

# The CPU wheel lies where pip has been told to look, else on the page of its index that lists torch alone.
page=$TORCH_INDEX/torch/
places=${PIP_FIND_LINKS-$(../.venv/bin/pip config get global.find-links 2>/dev/null || true)}
places=${places:-$page}

trap 'rm -f ./*.txt.new' EXIT
runtime='../pyproject.toml --extra jupyter --extra dask --extra deep'
# shellcheck disable=SC2086  # words
lock cuda "$torch" $runtime "$@"
elsewhere=
for place in $places; do
    elsewhere="$elsewhere --find-links $place"
done
# shellcheck disable=SC2086
lock cpu "$torch+cpu" $runtime $elsewhere "$@"
# shellcheck disable=SC2046
lock dev "$torch" ../pyproject.toml --all-extras --constraints cuda.txt.new $(pinned '--no-emit-package \1') "$@"
lock image "$torch" --group ../pyproject.toml:image --constraints cuda.txt.new "$@"
for name in cuda cpu dev image; do
    mv "$name.txt.new" "$name.txt"
done
