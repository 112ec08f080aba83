# docker build --target cpu -t e2fgvi:cpu .      docker build --target cuda -t e2fgvi:cuda .
# Not built where it was written: docs/install.md says what was run.
FROM python:3.12-slim AS base
# OpenCV's wheel needs libGL and glib.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir "uv>=0.8,<1"
COPY . /source
ENV E2FGVI_WEIGHTS_DIR=/work/.e2fgvi-weights \
    E2FGVI_CACHE_DIR=/tmp/e2fgvi
WORKDIR /work
ENTRYPOINT ["e2fgvi"]

FROM base AS cpu
RUN uv pip install --system --no-cache --torch-backend=cpu "/source[text,ui]"

FROM base AS cuda
# Triton compiles a few lines of C for its kernels.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN uv pip install --system --no-cache --torch-backend=cu128 "/source[text,ui]"
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
