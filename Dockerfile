FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv/themis

# The dependencies first: their layer stays as long as the lock file does.
COPY requirements/run.txt requirements/
RUN pip install --no-cache-dir --disable-pip-version-check \
    --require-hashes -r requirements/run.txt

COPY . .
# The settings want a key and hosts; collecting files uses neither.
RUN pip install --no-cache-dir --disable-pip-version-check \
        --no-deps --no-build-isolation --editable . \
    && DJANGO_SECRET_KEY=unused DJANGO_ALLOWED_HOSTS=unused \
        python manage.py collectstatic --no-input \
    && useradd --system --uid 10001 themis \
    && chown --recursive themis staticfiles

USER themis
ENV BIND=0.0.0.0 PORT=8000
EXPOSE 8000
CMD ["python", "-m", "server"]
