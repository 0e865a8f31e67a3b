#!/bin/sh
# What `make image`, `make up` and `make down` have this host's container engine do.
#
# usage: host.sh image|up|down [auto|cpu|cuda]     (auto: CUDA where an NVIDIA driver answers)
# exit codes: the engine's or the tour's own; 2 no engine, no GPU for cuda, or usage
set -eu
cd "$(dirname "$0")/.."

refuse() { printf 'containers: %s\n' "$@" >&2; exit 2; }

need_engine() {
    command -v docker >/dev/null ||
        refuse "Docker is not installed." "Expected an engine with compose and buildx." \
            "Install Docker, or stay without: make lesson needs none."
    docker info >/dev/null 2>&1 ||
        refuse "Docker's engine does not answer at ${DOCKER_HOST:-its usual socket}." \
            "Expected one that is running, and that this user may talk to." \
            "Type: sudo systemctl start docker, and see that you are in the group docker."
    { docker compose version && docker buildx version; } >/dev/null 2>&1 ||
        refuse "Docker lacks compose or buildx." "Expected both of its plug-ins." \
            "Install docker-compose-plugin and docker-buildx-plugin, or Debian's docker-compose and docker-buildx."
}

image() {
    docker buildx bake --file docker-bake.hcl --load "lab-$variant"
}

# The services of a variant have its name at their end, but for the CPU's.
up() {
    mkdir -p outputs workspace
    COMPOSE_PROFILES=$variant
    LAB_UID=$(stat -c %u outputs 2>/dev/null || stat -f %u outputs)
    LAB_GID=$(stat -c %g outputs 2>/dev/null || stat -f %g outputs)
    export COMPOSE_PROFILES LAB_UID LAB_GID
    end=${variant#cpu} end=${end:+-$end}
    docker compose up --build --detach --wait "jupyter$end" "report$end"
    addresses=$(addresses)
    printf '%s\n' "$addresses" "Now the tour."
    code=0
    docker compose run --rm "tour$end" || code=$?
    printf '\n%s\n' "$addresses" "make down ends all of it."
    return "$code"
}

addresses() {
    docker compose exec -T "jupyter$end" jupyter server list 2>/dev/null |
        sed -n "s|^http://[^?]*\(?token=[^ ]*\).*|JupyterLab: http://127.0.0.1:$(port "jupyter$end" 8888)/lab\1|p"
    echo "Results:    http://127.0.0.1:$(port "report$end" 8080)/"
}

port() { docker compose port "$1" "$2" | sed 's/.*://'; }

down() { COMPOSE_PROFILES='*' docker compose down --remove-orphans; }

case ${1:-} in image | up | down) ;; *) refuse "usage: host.sh image|up|down [auto|cpu|cuda]" ;; esac
case ${2:-auto} in auto | cpu | cuda) ;; *) refuse "VARIANT=$2 is unknown." "Expected auto, cpu or cuda." \
    "Type for instance: make image VARIANT=cpu" ;; esac
# On macOS that script names the lock, whose torch is for the CPU and for MPS; a container there has the CPU alone.
here=cpu
[ "$(uname)" = Darwin ] || here=$(sh requirements/setup.sh --print-variant auto)
variant=${2:-auto}
[ "$variant" != auto ] || variant=$here
[ "$1 $variant $here" != "up cuda cpu" ] ||
    refuse "No NVIDIA driver answers here." "Expected one for VARIANT=cuda." "Type: make up VARIANT=cpu"
need_engine
REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
export REVISION
"$1"
