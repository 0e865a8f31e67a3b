#!/bin/sh
# Makes .venv from two locks, what the lab needs and what its development needs, and puts the lab into it. Every make
# target comes through here first, so when nothing has changed it starts neither Python nor nvidia-smi.
#
# usage: setup.sh [--print-variant] auto|cpu|cuda     (auto: CUDA where a driver answers; else, and once set up,
#                                                      whatever was asked for before)
# from the environment: PYTHON, the interpreter to use; TORCH_INDEX, where torch's CPU wheels are (empty: nowhere)
# exit codes: 0 ready, 2 usage or no fitting Python, 5 files or network
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)
log=.venv/setup.log
stamp=.venv/setup.stamp  # without it a .venv is not ours; a stamp of one line is a set-up that never ended

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { code=$1; shift; say "$@"; exit "$code"; }

read_stamp() {
    asked='' variant='' python='' lock_sum='' project_sum='' stamped_root=''
    [ -r "$stamp" ] || return 0
    { read -r asked; read -r variant; read -r python
      read -r lock_sum; read -r project_sum; IFS='' read -r stamped_root; } <"$stamp" || :
}

write_stamp() {
    printf '%s\n' "$request" "$variant" "${PYTHON:-}" "$lock_sum" "$project_sum" "$root" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

sum_of_locks() { cat "requirements/$variant.txt" requirements/dev.txt | cksum; }

# The scripts in a .venv name its absolute path: one that was moved or copied does not hold.
venv_holds() {
    [ -n "$variant" ] && [ -x .venv/bin/python ] && [ "$stamped_root" = "$root" ] &&
        case $request in auto | "$asked" | "$variant") ;; *) false ;; esac &&
        case ${PYTHON:-} in '' | "$python") ;; *) false ;; esac &&
        [ "$lock_sum" = "$(sum_of_locks)" ]
}

project_holds() { [ "$project_sum" = "$(cksum <pyproject.toml)" ]; }

ready() {
    echo "setup: ready ($variant), next: make lesson"
    exit 0
}

# A broken driver can hang its own tool.
gpu_answers() {
    limit=$(command -v timeout >/dev/null && echo timeout 20 || :)
    $limit nvidia-smi -L 2>/dev/null | grep -q '^GPU '
}

# The macOS wheel, CPU and MPS in one, has the same plain version as the CUDA wheel and stands in its lock.
choose_variant() {
    if [ "$(uname)" = Darwin ]; then echo cuda
    elif [ "$request" != auto ]; then echo "$request"
    elif gpu_answers; then echo cuda
    else echo cpu
    fi
}

# Sets $interpreter and $version. Each candidate is run, since a shim may be there for a Python that is not.
find_python() {
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"
    else set -- python3 python3.14 python3.13 python3.12 python3.11
    fi
    seen=''
    for interpreter; do
        version=$("$interpreter" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
        case $version in
        3.11.* | 3.12.* | 3.13.* | 3.14.*)
            "$interpreter" -c 'import ensurepip, venv' 2>/dev/null && return
            seen=${seen:-"$interpreter is Python $version without venv or ensurepip"} ;;
        *) seen=${seen:-"$interpreter is Python $version"} ;;
        esac
    done
    fail 2 "${seen:-"no ${PYTHON:-Python} was found that runs"}, and the lab needs Python 3.11 to 3.14 with venv:" \
        "install it (apt-get install python3-venv, brew install python), or name one: make setup PYTHON=/path/to/python3"
}

# pip's own settings (mirrors, certificates, constraints) count; its words are kept for when it fails.
pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input "$@" >"$log" 2>&1; }

# A lock is complete, so no dependency is looked up, and no second step can replace the torch of the first.
install() { pip install --no-deps --require-hashes --only-binary :all: "$@"; }

pip_failed() {
    cat "$log" >&2
    fail 5 "$* failed with pip's words above; expected a package index that answers and room on the disk;" \
        "mend that and type make setup again"
}

# pip's own configuration may know the CPU wheel (a mirror, a folder); if not it says so at once, and torch's index
# is asked for torch alone.
install_cpu_torch() {
    entry='/^torch==/,/[^\\]$/'
    sed -n "$entry p" requirements/cpu.txt >.venv/torch.txt
    sed "$entry d" requirements/cpu.txt >.venv/rest.txt
    install --retries 0 --timeout 15 --requirement .venv/torch.txt && return
    if [ -n "${TORCH_INDEX:-}" ]; then
        install --retries 1 --timeout 15 --index-url "$TORCH_INDEX" --requirement .venv/torch.txt && return
    fi
    cat "$log" >&2
    fail 5 "torch's CPU wheel was found neither by pip's own settings nor at TORCH_INDEX=${TORCH_INDEX:-};" \
        "expected one whose hash requirements/cpu.txt knows; name an index that has it with" \
        "make setup TORCH_INDEX=URL, or a folder with PIP_FIND_LINKS=/folder make setup"
}

make_venv() {
    if [ -e .venv/bin ] && [ ! -e "$stamp" ]; then
        fail 2 "the .venv here was not made by make setup; expected none, or its own; move it away: mv .venv venv-mine"
    fi
    say "making .venv with Python $version"
    # Renamed before it is removed: half a .venv without its stamp would not be known as ours.
    if ! { rm -rf .venv.gone && { [ ! -e .venv ] || mv .venv .venv.gone; } && rm -rf .venv.gone &&
        mkdir .venv && echo "$request" >"$stamp"; }
    then
        fail 5 "cannot make .venv in $root as user $(id -u); expected a folder this user may write, and room;" \
            "look at: ls -ld .venv . && df -h ."
    fi
    "$interpreter" -m venv .venv >"$log" 2>&1 || pip_failed "making .venv"
}

install_lock() {
    if [ "$variant" = cpu ]; then
        say "installing torch for the CPU (about 190 MB)"
        install_cpu_torch
        say "installing the other packages (about 150 MB)"
        install --requirement .venv/rest.txt --requirement requirements/dev.txt ||
            pip_failed "installing requirements/cpu.txt and dev.txt"
    else
        size=$([ "$(uname)" = Darwin ] && echo "about 250 MB" || echo "about 3 GB")
        say "installing torch and the other packages ($size)"
        install --requirement requirements/cuda.txt --requirement requirements/dev.txt ||
            pip_failed "installing requirements/cuda.txt and dev.txt"
    fi
}

install_lab() {
    pip install --no-deps --no-build-isolation --editable . || pip_failed "installing the lab itself"
}

print_variant=false
if [ "${1:-}" = --print-variant ]; then
    print_variant=true
    shift
fi
request=${1:-auto}
case $request in
auto | cpu | cuda) ;;
*) fail 2 "VARIANT=$request is unknown; expected auto, cpu or cuda; type for example: make setup VARIANT=cpu" ;;
esac
if $print_variant; then
    choose_variant
    exit 0
fi

read_stamp
if venv_holds && project_holds; then ready; fi

# One at a time. The lock is this very file; pip inherits it, so one that outlives a killed set-up is waited for.
if command -v flock >/dev/null; then
    exec 9<requirements/setup.sh
    flock -n 9 || { say "another make setup is at work here, waiting for it"; flock 9 || :; }
    read_stamp
fi

if ! venv_holds; then
    # What was once asked for by name stays asked for when only the lock has changed.
    if [ "$request" = auto ]; then request=${asked:-auto}; fi
    PYTHON=${PYTHON:-$python}
    find_python
    variant=$(choose_variant)
    lock_sum=$(sum_of_locks)
    make_venv
    install_lock
    project_sum=
elif [ "$request" = auto ]; then
    request=$asked
fi
if ! project_holds; then
    project_sum=$(cksum <pyproject.toml)
    say "installing the lab itself"
    install_lab
    write_stamp
fi
ready
