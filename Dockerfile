# One image for every command: fraudwatch api, worker, migrate, topics …
FROM python:3.11-slim AS build
RUN python -m venv /venv
COPY requirements.lock /source/
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r /source/requirements.lock
COPY pyproject.toml README.md /source/
COPY fraudwatch /source/fraudwatch
COPY streams /source/streams
RUN /venv/bin/pip install --no-cache-dir --no-deps /source

FROM python:3.11-slim
# LightGBM's wheel expects the system's OpenMP.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home fraudwatch \
    && install --directory --owner fraudwatch /data
COPY --from=build /venv /venv
# The root file system may be read-only: compiled kernels are cached in /tmp.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/tmp/numba \
    FRAUDWATCH_DATA_DIR=/data
USER fraudwatch
VOLUME /data
CMD ["fraudwatch", "--help"]
