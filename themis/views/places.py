"""Where on the list a page is: its filters and its cursor, as its address has them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

from themis.content import clean_source
from themis.listing import STATES, Cursor, Filters
from themis.models import Level

# How many notifications a page of the list shows.
PAGE = 25


@dataclass(frozen=True, slots=True)
class Place:
    """A page of the list."""

    filters: Filters = field(default_factory=Filters)
    before: Cursor | None = None

    @classmethod
    def parse(cls, query: QueryDict) -> Self:
        """
        Return the place that an address names; what is empty narrows nothing.

        Raises:
            ValueError: no such state, level or source, or an edited cursor.
        """
        state = query.get("state") or "all"
        level = query.get("level") or None
        source_app = query.get("source_app") or None
        before = query.get("before")
        if state not in STATES:
            msg = "There is no such state."
            raise ValueError(msg)
        if level is not None and level not in Level.values:
            msg = "There is no such level."
            raise ValueError(msg)
        if source_app and clean_source(source_app, name="source_app") != source_app:
            msg = "There is no such source."
            raise ValueError(msg)
        filters = Filters(state, level, source_app)
        return cls(filters, Cursor.parse(before) if before else None)

    @property
    def is_narrowed(self) -> bool:
        """Whether more than the state is filtered."""
        return not (self.filters.level is None and self.filters.source_app is None)

    def narrow(self, **changes: Any) -> Self:
        """Return the newest page under other filters."""
        return replace(self, filters=replace(self.filters, **changes), before=None)

    def url(self, **more: str) -> str:
        """Return the address, without what is not filtered, and with *more*."""
        query = {
            "state": "" if self.filters.state == "all" else self.filters.state,
            "level": self.filters.level,
            "source_app": self.filters.source_app,
            "before": self.before and str(self.before),
            **more,
        }
        spelt = urlencode({name: value for name, value in query.items() if value})
        return reverse("themis:list") + (f"?{spelt}" if spelt else "")
