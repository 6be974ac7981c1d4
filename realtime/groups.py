"""Names of channel-layer groups."""

from __future__ import annotations

from hashlib import blake2b

# All hubs are in it: for what concerns many users at once.
EVERY_HUB = "themis.hubs"


def group_of(user_key: str) -> str:
    """
    Return the group that hears of the mailbox of one user.

    A hash, because names may hold only ASCII letters, digits, hyphens, underscores and
    periods, under 100 of them (Channels' layer specification), and keys any text.
    """
    return f"themis.user.{blake2b(user_key.encode(), digest_size=16).hexdigest()}"
