# The runnable project. What builds it stays behind in the first stage.

FROM python:3.13-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/venv/bin:$PATH
RUN python -m venv /opt/venv
WORKDIR /srv/themis

# The dependencies first: their layer stays as long as the lock file does.
COPY requirements/run.txt requirements/
RUN pip install --require-hashes --requirement requirements/run.txt

COPY . .
# The settings want a key and hosts; collecting files uses neither. The containers can
# write nothing, so what Python compiles has to be there.
RUN pip install --no-deps --no-build-isolation --editable . \
    && export DJANGO_SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(64))')" \
    && DJANGO_ALLOWED_HOSTS=unused DJANGO_STATIC_ROOT=/srv/static \
        python manage.py collectstatic --no-input \
    && python -m compileall -q .


FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/venv/bin:$PATH
RUN useradd --system --uid 10001 --no-create-home themis
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/themis /srv/themis
# A new volume takes its files and their owner from here, and the owner adds to it.
COPY --from=build --chown=themis:themis /srv/static /srv/static

WORKDIR /srv/themis
# A number, by which Kubernetes knows that it is not root.
USER 10001
# Without a key it refuses to start, rather than take itself for a developer's.
ENV DJANGO_DEBUG=0 BIND=0.0.0.0 PORT=8000 DJANGO_STATIC_ROOT=/srv/static
EXPOSE 8000
CMD ["python", "-m", "server", "--prepared"]
