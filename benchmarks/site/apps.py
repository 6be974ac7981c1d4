"""The one app of the peers' project."""

from __future__ import annotations

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Without migrations: its table is made by ``migrate --run-syncdb``."""

    name = "benchmarks.site"
    label = "peers"
