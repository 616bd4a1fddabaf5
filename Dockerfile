# tuneoff and all that a worker needs, for docker-compose.yml and deploy/kubernetes.yaml.
#
# There is no CUDA in the base image: torch's own wheels bring it. The machine needs NVIDIA's driver
# and its container toolkit.
FROM python:3.11.15-slim

RUN pip install --no-cache-dir uv==0.13.9

WORKDIR /src
COPY constraints.txt pyproject.toml ./
# The dependencies first, in a layer of their own: they are gigabytes, and seldom change.
# For more of them: docker compose build --build-arg EXTRAS="--extra postgres --extra ray"
ARG EXTRAS="--extra postgres --extra jpeg"
RUN uv pip install --system --no-cache --compile-bytecode -c constraints.txt -r pyproject.toml ${EXTRAS}
COPY LICENSE README.md ./
COPY tuneoff tuneoff
COPY search search
COPY trainer trainer
RUN uv pip install --system --no-cache --compile-bytecode --no-deps .

# A volume that is mounted on /work for the first time takes over its owner.
RUN useradd --uid 10001 --create-home tuneoff && install -d -o tuneoff -g tuneoff /work
ENV PYTHONUNBUFFERED=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TUNEOFF_WORK=/work \
    TORCH_HOME=/work/torch
WORKDIR /tuneoff
COPY studies studies
USER 10001:10001

# In exec form: signals reach tuneoff itself, which then checkpoints.
ENTRYPOINT ["tuneoff"]
CMD ["--help"]
