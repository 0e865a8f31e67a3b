# One file for both variants. Stages stand in the order of how seldom they change: Debian's Python, the packages of a
# lock, the lab. `make image` builds it, docs/containers.md says how to live with what comes out.

# Debian 12 of 2026-08-24. Built without a registry, BASE names an image that is at hand.
ARG BASE=debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

# Wheels to install in place of an index's; a named context `wheelhouse` takes this stage's place.
FROM scratch AS wheelhouse

# DL3006 is ignored, for BASE has its tag.
# hadolint ignore=DL3006
FROM ${BASE} AS base
# What is written here is as old as this, so that a second build gives the same bytes; a moment after BASE's.
ARG SOURCE_DATE_EPOCH=1787529600
# No compiler, no pip. bubblewrap stays out too: what a container may do leaves it nothing to build a wall with.
# DL3008 is ignored here and below: versions are Debian's of the day.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3 tini && \
    find / -xdev -perm /6000 -type f -exec chmod a-s {} + && \
    useradd --uid 1000 --user-group --no-create-home --home-dir /tmp --shell /bin/sh lab && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/cache/debconf/*-old /var/log/* /etc/*- && \
    find / -xdev -name __pycache__ -prune -exec rm -rf {} + && \
    python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11
# One who is not in /etc/passwd has a name as well, which torch asks for, and a home that can be written.
ENV HOME=/tmp USER=lab LANG=C.UTF-8 PYTHONUNBUFFERED=1 PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin

FROM base AS builder
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /lab
COPY requirements/image.txt requirements/
# A network that is inspected has a certificate of its own, which comes as the secret `cabundle`.
RUN --mount=type=secret,id=cabundle \
    if [ -s /run/secrets/cabundle ]; then export PIP_CERT=/run/secrets/cabundle; fi && \
    python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/venv && \
    /opt/tools/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        --requirement requirements/image.txt
# What Python compiles by itself has the time of its source in it.
ENV PIP_PYTHON=/opt/venv/bin/python PIP_NO_CACHE_DIR=1 PIP_NO_DEPS=1 PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0

FROM builder AS packages
ARG TORCH_VARIANT=cpu
# Where the CPU's torch is, if the wheelhouse has none.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements/${TORCH_VARIANT}.txt requirements/
# Every file is checked against the lock, wherever it comes from.
RUN --mount=type=secret,id=cabundle --mount=type=bind,from=wheelhouse,target=/wheelhouse \
    if [ -s /run/secrets/cabundle ]; then export PIP_CERT=/run/secrets/cabundle; fi && \
    /opt/tools/bin/pip install --no-compile --require-hashes --only-binary :all: --find-links /wheelhouse \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --requirement "requirements/$TORCH_VARIANT.txt"
COPY containers/imports.txt /opt/tools/
WORKDIR /opt/venv/lib/python3.11/site-packages
# Tests, C++ headers without a compiler to read them, and the calendars of 700 languages are a tenth of the image.
# Of the rest, what the lab imports is compiled, for nothing can be written later; all of it would be twice as much.
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN rm -rf torch/test torch/include torch/share && \
    find torch/bin -type f ! -name torch_shm_manager -delete && \
    find babel/locale-data -type f ! -name root.dat ! -name 'en*.dat' -delete && \
    find . -type d -name tests ! -path './numpy/*' -prune -exec rm -rf {} + && \
    while read -r modules; do \
        PYTHONDONTWRITEBYTECODE="" PYTHONPYCACHEPREFIX=/tmp/used python -c "import $modules" || exit; \
    done </opt/tools/imports.txt && \
    find /tmp/used/opt -name '*.pyc' | sed 's|^/tmp/used||; s|\.cpython-311\.pyc$|.py|' | sort >/tmp/compiled && \
    python -m compileall -q --invalidation-mode unchecked-hash -i /tmp/compiled && rm -rf /tmp/*
WORKDIR /lab

# The lab is installed as a link to /lab: its sources change most often, and lie in a layer of their own.
FROM packages AS installed
COPY pyproject.toml README.md LICENSE ./
COPY lab/__init__.py lab/
COPY lab/run/data lab/run/data
RUN PYTHONPATH=/opt/tools/lib/python3.11/site-packages \
        /opt/tools/bin/pip install --no-compile --no-build-isolation --editable . && \
    /opt/tools/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
        --output-file sbom.cdx.json /opt/venv/bin/python

FROM installed AS source
COPY requirements requirements
COPY notebooks notebooks
COPY lab lab
RUN python3 -m compileall -q --invalidation-mode unchecked-hash lab && \
    chmod -R u=rwX,go=rX . && mkdir -m 1777 outputs workspace

# For an editor: what changes and tests the lab.
FROM installed AS tested
COPY requirements/dev.txt requirements/
RUN --mount=type=secret,id=cabundle --mount=type=bind,from=wheelhouse,target=/wheelhouse \
    if [ -s /run/secrets/cabundle ]; then export PIP_CERT=/run/secrets/cabundle; fi && \
    /opt/tools/bin/pip install --no-compile --require-hashes --only-binary :all: --find-links /wheelhouse \
        --requirement requirements/dev.txt

FROM base AS dev
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends git less make openssh-client && \
    rm -rf /var/lib/apt/lists/*
COPY --from=tested /opt/venv /opt/venv
COPY --from=source /lab /lab
WORKDIR /lab
# make takes these packages, not a .venv of its own.
ENV LAB_BIN=/opt/venv/bin
USER 1000:1000
CMD ["bash"]

# What `docker build .` makes.
FROM base AS lab
COPY --from=installed /opt/venv /opt/venv
COPY --from=source /lab /lab
WORKDIR /lab
ARG TORCH_VARIANT=cpu
ARG TORCH_VERSION=2.13.0
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Gradient Lab" \
      org.opencontainers.image.description="Learn, practise and prove PyTorch's gradients" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      gradient-lab.variant="${TORCH_VARIANT}" \
      gradient-lab.torch="${TORCH_VERSION}"
USER 1000:1000
# Of what listens, docker-compose.yml asks more.
HEALTHCHECK --interval=1m --timeout=10s CMD ["lab", "--help"]
ENTRYPOINT ["tini", "--", "lab"]
CMD ["--help"]
