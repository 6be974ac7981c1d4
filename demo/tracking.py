"""
Which fields of a model instance differ from the database.

The signal trigger needs it to tell "assigned" from "saved".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from django.db import models


class FieldTracker:
    """The values an instance was loaded or last saved with."""

    def __init__(self, instance: models.Model) -> None:
        self._instance = instance
        self._fields = instance._meta.concrete_fields
        self._saved: dict[str, Any] = {}

    def has_changed(self, name: str) -> bool:
        """Tell whether a field was set to another value, also during `post_save`."""
        attribute = next(field.attname for field in self._fields if field.name == name)
        if attribute in self._instance.get_deferred_fields():
            return False
        if attribute not in self._saved:
            return True
        return bool(self._saved[attribute] != getattr(self._instance, attribute))

    def remember(self, names: Iterable[str] | None = None) -> None:
        """Take the present values as saved: of all fields, or of those named."""
        deferred = self._instance.get_deferred_fields()
        chosen = None if names is None else set(names)
        for field in self._fields:
            if field.attname in deferred:
                continue
            if chosen is None or chosen & {field.name, field.attname}:
                self._saved[field.attname] = getattr(self._instance, field.attname)


class TrackedModel(models.Model):
    """A model whose instances have a `tracker`."""

    class Meta:
        abstract = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tracker = FieldTracker(self)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Remember what was saved, once the receivers of `post_save` have run."""
        super().save(*args, **kwargs)
        self.tracker.remember(kwargs.get("update_fields"))

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember what was loaded."""
        instance = super().from_db(*args, **kwargs)
        instance.tracker.remember()
        return instance

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Self] | None = None,
    ) -> None:
        """Remember what was loaded again."""
        names = None if fields is None else list(fields)
        super().refresh_from_db(using=using, fields=names, from_queryset=from_queryset)
        self.tracker.remember(names)
