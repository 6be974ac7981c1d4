"""`python -m benchmarks.senders.themis`: by Themis' two verbs."""

from __future__ import annotations

from typing import Any

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402

from benchmarks.senders.sender import serve  # noqa: E402
from benchmarks.senders.texts import FIELDS  # noqa: E402
from themis.notifications import notify_user, notify_users  # noqa: E402

accounts = get_user_model().objects


class ThemisSender:
    """Preferences are read, and revisions stamped: no less than a host would do."""

    def load(self, users: range) -> None:
        """Read the accounts."""
        self._accounts: dict[Any, Any] = accounts.in_bulk(users)

    def tell(self, user: int, title: str) -> None:
        """With no transaction open."""
        notify_user(self._accounts[user], title, **FIELDS)

    def tell_all(self, users: range, title: str) -> None:
        """Of a queryset, as a host would."""
        notify_users(accounts.filter(pk__range=(users[0], users[-1])), title, **FIELDS)


if __name__ == "__main__":
    serve(ThemisSender())
