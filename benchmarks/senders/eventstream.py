"""`python -m benchmarks.senders.eventstream`: django-eventstream's `send_event`."""

from __future__ import annotations

import django

django.setup()

from django_eventstream import send_event  # noqa: E402

from benchmarks.senders.rows import insert, insert_all  # noqa: E402
from benchmarks.senders.sender import serve  # noqa: E402


class EventStreamSender:
    """Through Redis, as documented for several processes."""

    def load(self, users: range) -> None:
        """Keys will do."""

    def tell(self, user: int, title: str) -> None:
        """Insert, then send to the user's channel."""
        send_event(f"user-{user}", "message", insert(user, title))

    def tell_all(self, users: range, title: str) -> None:
        """Insert chunk by chunk, send one by one."""
        for told in insert_all(users, title):
            for user, content in told:
                send_event(f"user-{user}", "message", content)


if __name__ == "__main__":
    serve(EventStreamSender())
