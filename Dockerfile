# docker build -t millrace:0.1.0 .
# docker run -p 8787:8787 -v millrace:/data millrace:0.1.0
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
ARG UV_VERSION=0.13.9
# Optional parts of the program, with spaces between: langgraph, postgres, s3.
ARG EXTRAS="postgres s3"
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/millrace UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir --root-user-action=ignore "uv==${UV_VERSION}"
WORKDIR /build
# The libraries by themselves: a change of the program does not fetch them again.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-default-groups --no-install-project ${EXTRAS:+$(printf -- '--extra=%s ' ${EXTRAS})}
COPY README.md LICENSE ./
COPY src src
RUN uv sync --frozen --no-default-groups --no-editable ${EXTRAS:+$(printf -- '--extra=%s ' ${EXTRAS})}

FROM python:${PYTHON_VERSION}-slim
# The number is fixed, since volumes and Kubernetes go by it.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin millrace \
    && install --directory --owner=millrace --group=millrace --mode=0700 /data
COPY --from=build /opt/millrace /opt/millrace
ENV PATH=/opt/millrace/bin:$PATH HOST=0.0.0.0 PORT=8787 DATA_DIR=/data PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
# A wrangler file, and the handlers that it names, belong here.
WORKDIR /app
VOLUME /data
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/readyz\", timeout=4)"]
# The server handles signals itself, also as process 1. Handlers that leave processes behind want `docker run --init`.
ENTRYPOINT ["millrace"]
CMD ["serve"]
