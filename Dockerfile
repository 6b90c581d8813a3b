# One image for every service of docker-compose.yml except the database, for CPU and GPU.
FROM python:3.11-slim-bookworm

ARG UV_VERSION=0.13.9
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/themo/data/hub \
    GIT_PYTHON_REFRESH=quiet \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# named volumes inherit the owner of their mount point
RUN useradd --uid 1000 --user-group --create-home themo \
    && install --directory --owner=themo --group=themo \
        /themo /themo/data /themo/logs /artifacts /claims \
    && python -m venv /opt/venv \
    && pip install --no-cache-dir "uv==${UV_VERSION}"

# Large layers that rarely change come first: PyTorch with CUDA, then the other libraries, then the code.
ENV VIRTUAL_ENV=/opt/venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /opt/themo
COPY requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --constraint requirements.lock torch torchvision
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --constraint requirements.lock --requirements pyproject.toml --extra cluster
COPY README.md LICENSE ./
COPY configs ./configs
COPY themo ./themo
COPY tune ./tune
RUN uv pip install --no-cache --no-deps --build-constraint requirements.lock .

# The working directory has data/ and logs/, which every service mounts.
WORKDIR /themo
USER 1000:1000
CMD ["python", "-m", "themo", "--help"]
