#!/bin/sh
# Compiles pyproject.toml into the two locks; `make lock` calls it and passes on uv's own options, if any.
# What a lock pins stays pinned, hashes and all; UPGRADE=1 lets everything but torch move.
set -eu
cd "$(dirname "$0")"
torch=2.13.0

compile() { ../.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes "$@"; }

# lock VARIANT PIN [OPTION...]: writes beside the lock, so that a failed resolution leaves the lock as it was.
# Pre-releases are out: the newest mpmath would otherwise be bought with a release candidate of sympy.
lock() {
    variant=$1 pin=$2
    shift 2
    sed -n "${UPGRADE:+/^torch==/,/[^\\\\]\$/}p" "$variant.txt" >"$variant.txt.new"
    if [ "$variant $places" = "cpu $page" ] && ! grep -q "^torch==$pin " cpu.txt; then
        # uv reads hashes from an index but not from a page: ask the index once, for torch alone.
        echo "torch==$pin" | compile - --no-deps --index "$TORCH_INDEX" >>cpu.txt.new
    fi
    echo "torch==$pin" | compile ../pyproject.toml --all-extras --constraints - \
        --only-binary :all: --prerelease disallow --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make lock" --output-file "$variant.txt.new" "$@"
}

# The CPU wheel lies where pip has been told to look, else on the page of its index that lists torch alone.
page=$TORCH_INDEX/torch/
places=${PIP_FIND_LINKS-$(../.venv/bin/pip config get global.find-links 2>/dev/null || true)}
places=${places:-$page}

trap 'rm -f cpu.txt.new cuda.txt.new' EXIT
lock cuda "$torch" "$@"
for place in $places; do
    set -- "$@" --find-links "$place"
done
lock cpu "$torch+cpu" "$@"
mv cuda.txt.new cuda.txt
mv cpu.txt.new cpu.txt
