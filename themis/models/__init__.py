"""The mailbox's tables, and the writes of host code that open bells follow."""

from themis.models.conditions import Level, is_listed, is_open, is_unexpired
from themis.models.mailbox import Mailbox, Tombstone, make_epoch
from themis.models.notification import UserNotification
from themis.models.profile import UserProfile

__all__ = [
    "Level",
    "Mailbox",
    "Tombstone",
    "UserNotification",
    "UserProfile",
    "is_listed",
    "is_open",
    "is_unexpired",
    "make_epoch",
]
