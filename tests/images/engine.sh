#!/bin/sh
# A container engine of its own for the tests of the images, where a machine has none: Debian or its kin, as root.
#
#   engine.sh up      starts it (installs it first if need be) and prints what DOCKER_HOST has to be
#   engine.sh base    makes an image that stands for the Dockerfile's BASE, from Debian's packages, without a registry
#   engine.sh down    ends it, and removes all of its images and containers
#
# from the environment: LAB_ENGINE, the folder that it lives in (default: lab-engine in the temporary folder)
# exit codes: 0 done, 2 usage, 3 it may not or cannot run here (the reason is on stderr)
set -eu
folder=${LAB_ENGINE:-${TMPDIR:-/tmp}/lab-engine}
export DOCKER_HOST="unix://$folder/docker.sock"
epoch=1787529600  # as the Dockerfile's

cannot() { printf 'engine: %s\n' "$*" >&2; exit 3; }

sources() { awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources; }

# Debian 12's own engine is too old for CDI and for rewritten times; the next release's runs here, pinned below all else
# so that nothing but what is named comes from it.
install_engine() {
    mkdir -p "$folder/apt/sources" "$folder/apt/preferences" "$folder/apt/lists/partial" "$folder/apt/archives/partial"
    cp /etc/apt/sources.list.d/debian.sources "$folder/apt/sources/"
    printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: %s\n' \
        "$(sources)" /usr/share/keyrings/debian-archive-keyring.gpg >"$folder/apt/sources/trixie.sources"
    printf 'Package: *\nPin: release n=trixie\nPin-Priority: 50\n' >"$folder/apt/preferences/trixie"
    set -- -qq -o "Dir::Etc::sourceparts=$folder/apt/sources" -o Dir::Etc::sourcelist=/dev/null \
        -o "Dir::Etc::preferencesparts=$folder/apt/preferences" -o "Dir::State::lists=$folder/apt/lists" \
        -o "Dir::Cache::archives=$folder/apt/archives" -o APT::Sandbox::User=root -o Acquire::Retries=3
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    apt-get "$@" update && apt-get "$@" install --yes --no-install-recommends \
        docker.io/trixie docker-cli/trixie docker-buildx/trixie docker-compose/trixie iptables mmdebstrap
}

# A device that a container can be given as it is given a GPU: a file node and a variable, described as CDI wants it.
describe_mock_gpu() {
    mkdir -p "$folder/cdi"
    cat >"$folder/cdi/mock.json" <<'EOF'
{"cdiVersion": "0.5.0", "kind": "mock.invalid/gpu", "devices": [{"name": "all", "containerEdits": {
  "env": ["MOCK_GPU=all"], "deviceNodes": [{"path": "/dev/nvidia0", "hostPath": "/dev/null"}]}}]}
EOF
    printf '{"experimental": true, "features": {"cdi": true}, "cdi-spec-dirs": ["%s"]}\n' "$folder/cdi" \
        >"$folder/daemon.json"
}

up() {
    docker info >/dev/null 2>&1 && { echo "$DOCKER_HOST"; return; }
    [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] || cannot "it needs root on Linux, and this is $(uname), user $(id -u)"
    mkdir -p "$folder"
    if ! { command -v dockerd && command -v mmdebstrap && docker compose version; } >/dev/null 2>&1; then
        [ -e /etc/apt/sources.list.d/debian.sources ] || cannot "Docker is not installed, and this is no Debian to get it"
        install_engine >"$folder/apt.log" 2>&1 || cannot "apt-get could not install Docker: $(tail -n 2 "$folder/apt.log")"
    fi
    describe_mock_gpu
    dockerd --config-file "$folder/daemon.json" --host "$DOCKER_HOST" --pidfile "$folder/docker.pid" \
        --data-root "$folder/data" --exec-root "$folder/exec" >"$folder/dockerd.log" 2>&1 </dev/null &
    for _ in $(seq 120); do
        docker info >/dev/null 2>&1 && { echo "$DOCKER_HOST"; return; }
        kill -0 $! 2>/dev/null || break
        sleep 0.25
    done
    cannot "dockerd did not start: $(grep -v level=info "$folder/dockerd.log" | tail -n 2)"
}

# As Debian's slim image: neither manuals nor lists of packages.
base() {
    [ -s "$folder/base/base.tar" ] || {
        mkdir -p "$folder/base"
        set -- "deb $(sources) bookworm main" "deb $(sources) bookworm-updates main" \
            "deb $(sources)-security bookworm-security main"
        SOURCE_DATE_EPOCH=$epoch mmdebstrap --quiet --variant=minbase --mode=root --include=usr-is-merged \
            --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
            --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
            --customize-hook="rm -rf \"\$1\"/etc/resolv.conf \"\$1\"/etc/hostname \"\$1\"/var/lib/apt/lists/* \"\$1\"/var/cache/*" \
            --customize-hook="find \"\$1\"/var/log -type f -delete" \
            bookworm "$folder/base/part.tar" "$@" >"$folder/base.log" 2>&1 ||
            cannot "mmdebstrap could not make a base image: $(tail -n 2 "$folder/base.log")"
        mv "$folder/base/part.tar" "$folder/base/base.tar"
    }
    printf 'FROM scratch\nADD base.tar /\nCMD ["bash"]\n' |
        docker build --quiet --tag lab-base --file - "$folder/base" >/dev/null
    echo lab-base
}

down() {
    pid=$(cat "$folder/docker.pid" 2>/dev/null || :)
    # A number that an engine has left behind may be another program's by now.
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
        kill "$pid"
        for _ in $(seq 150); do [ -e "/proc/$pid" ] || break; sleep 0.2; done
        [ ! -e "/proc/$pid" ] || cannot "dockerd, process $pid, did not end within 30 s"
    fi
    rm -rf "$folder/data" "$folder/exec"
}

case ${1:-} in
up | base | down) "$1" ;;
*) echo "usage: engine.sh up|base|down" >&2; exit 2 ;;
esac
