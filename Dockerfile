FROM python:3.11-slim AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
COPY migrations ./migrations
COPY funcs ./funcs
RUN python -m pip wheel --no-deps --wheel-dir dist . \
 && python -m venv /opt/aieye \
 && /opt/aieye/bin/python -m pip install --constraint constraints.txt dist/*.whl \
 && /opt/aieye/bin/python -c "from aieye.ui.pages import compile_templates; compile_templates()"

FROM python:3.11-slim
RUN groupadd --gid 10001 aieye \
 && useradd --uid 10001 --gid aieye --no-create-home --home-dir /data --shell /usr/sbin/nologin aieye \
 && install --directory --owner aieye --group aieye --mode 0700 /data
COPY --from=builder /opt/aieye /opt/aieye
COPY funcs /app/funcs
ENV PATH=/opt/aieye/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AIEYE_HOST=0.0.0.0 \
    AIEYE_PORT=8000 \
    AIEYE_DATA_DIR=/data
WORKDIR /app
USER aieye
VOLUME /data
EXPOSE 8000
# The first start migrates the database before it answers.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['AIEYE_PORT'] + '/healthz', timeout=4)"]
# AIEYE_PUBLIC_URL has no default here: whoever runs the image says where people reach it.
CMD ["aieye", "serve"]
