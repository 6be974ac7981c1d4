"""Writes through the ORM that open bells follow."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.db import models
from django.db.models import F
from django.utils import timezone

from themis.models.conditions import is_listed, is_open
from themis.models.mailbox import bury
from themis.ringing import followed

if TYPE_CHECKING:
    from themis.models.notification import UserNotification

# How many rows one statement of a followed write touches.
CHUNK = 1_000


def in_key_order(rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
    """Return *rows* by ascending primary key, whatever order they were in."""
    ordered = rows.order_by("pk")
    # A `reverse()` turns the order that comes after it, too.
    return ordered if ordered.query.standard_ordering else ordered.reverse()


class UserNotificationQuerySet(models.QuerySet["UserNotification"]):
    """
    Notifications, with writes that open bells follow.

    `update`, `bulk_update`, `bulk_create` and `delete` only mark rows inside the
    caller's transaction; the mailboxes are stamped after it has committed.
    """

    # A change of these makes a row another holder of its dedup key, or none.
    KEYED: ClassVar = frozenset(
        {
            *("user", "user_id", "read_at", "dismissed_at"),
            *("source_app", "source_model", "source_id"),
            *("level", "title", "message", "url"),
        }
    )

    # In another mailbox a row is a new one, which nobody asked to drop.
    MOVED: ClassVar = {
        "created_revision": None,
        "revision": None,
        "deduplicate": False,
    }

    def listed(self) -> Self:
        """Return what lists show: neither dismissed nor expired."""
        return self.filter(is_listed(timezone.now()))

    def unread(self) -> Self:
        """Return what the bell counts: not read, dismissed or expired."""
        return self.filter(is_open(timezone.now()))

    def in_order(self) -> Self:
        """Return the newest first, in the one order of all lists."""
        return self.order_by(F("created_revision").desc(nulls_first=True), "-id")

    def update(self, **changes: Any) -> int:
        """Update like Django, and let open bells follow after the commit."""
        if self.query.is_sliced or not changes:
            return super().update(**changes)
        self._for_write = True
        changes["pending"] = True
        if not self.KEYED.isdisjoint(changes):
            changes["dedup_key"] = None
        updated = 0
        with followed(self.db) as users:
            for rows in self._keys_by_chunk():
                moving = self._moving(rows, changes)
                staying = {pk for pk, _user in rows}.difference(moving)
                if moving:
                    bury(self._plain(moving), self.db)
                    updated += self._write(moving, changes | self.MOVED)
                updated += self._write(staying, changes)
                users.update(user for _pk, user in rows)
                moved = self._plain(moving).values_list("user_id", flat=True)
                users.update(moved)
        return updated

    update.alters_data = True  # type: ignore[attr-defined] # Django's template guard

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete like Django, and let open bells follow after the commit."""
        if self.query.is_sliced or self.query.distinct_fields:
            return super().delete()
        self._for_write = True
        total = 0
        by_model: dict[str, int] = {}
        with followed(self.db) as users:
            for rows in self._keys_by_chunk():
                keys = [pk for pk, _user in rows]
                users.update(bury(self._plain(keys), self.db))
                count, details = self._plain(keys).delete()
                total += count
                for label, number in details.items():
                    by_model[label] = by_model.get(label, 0) + number
                users.update(user for _pk, user in rows)
        return total, by_model

    delete.alters_data = True  # type: ignore[attr-defined] # Django's template guard
    delete.queryset_only = True  # type: ignore[attr-defined] # no Manager.delete()

    def bulk_create(  # noqa: PLR0917 -- Django's signature
        self,
        objs: Iterable[UserNotification],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[UserNotification]:
        """Create like Django, and let open bells follow after the commit."""
        self._for_write = True
        rows = list(objs)
        for row in rows:
            row.begin()
        if update_fields:
            # What is there already, and is written over, is followed like an update.
            update_fields = {*update_fields, "pending"}
            if not self.KEYED.isdisjoint(update_fields):
                update_fields.add("dedup_key")
        with followed(self.db) as users:
            created = super().bulk_create(
                rows,
                batch_size=batch_size,
                ignore_conflicts=ignore_conflicts,
                update_conflicts=update_conflicts,
                update_fields=update_fields,
                unique_fields=unique_fields,
            )
            users.update(row.user_id for row in created)
            if update_conflicts:
                stored = self._plain([row.pk for row in created])
                users.update(stored.values_list("user_id", flat=True))
        return created

    def _moving(
        self, rows: Collection[tuple[int, Any]], changes: dict[str, Any]
    ) -> list[int]:
        """Return the keys of *rows* that an update takes to another mailbox."""
        target = changes.get("user", changes.get("user_id"))
        if target is None:
            return []
        if hasattr(target, "resolve_expression"):
            # As in bulk_update: each row has a user of its own, computed by SQL.
            keys = self.filter(pk__in=[pk for pk, _user in rows])
            leaving = keys.annotate(target_key=target).exclude(user_id=F("target_key"))
            return list(leaving.values_list("pk", flat=True))
        field = self.model._meta.get_field("user")
        target = field.to_python(getattr(target, "pk", target))
        return [pk for pk, user in rows if user != target]

    def _write(self, keys: Collection[int], changes: dict[str, Any]) -> int:
        if not keys:
            return 0
        return models.QuerySet.update(self.filter(pk__in=keys), **changes)

    def _plain(self, keys: Collection[int]) -> models.QuerySet[UserNotification]:
        """Return the rows of *keys*, with writes that nothing follows."""
        return models.QuerySet(self.model, using=self.db).filter(pk__in=keys)

    def _keys_by_chunk(self) -> Iterator[list[tuple[int, Any]]]:
        """Yield (primary key, user key) of what the queryset selects, in chunks."""
        keys = in_key_order(self.using(self.db)).values_list("pk", "user_id")
        if self.query.where.contains_over_clause:
            # Filtered further its windows would begin anew.
            rows = list(keys)
            yield from (rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK))
            return
        rows = list(keys[:CHUNK])
        while rows:
            yield rows
            rows = list(keys.filter(pk__gt=rows[-1][0])[:CHUNK])
