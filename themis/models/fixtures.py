"""What a fixture brings: Django writes it past our `save`, and pages follow it anyway.

`ThemisConfig.ready` connects these to the signals of the models that they name.
"""

from __future__ import annotations

from typing import Any

from themis.models.mailbox import Mailbox, make_epoch
from themis.models.notification import UserNotification
from themis.models.profile import UserProfile
from themis.ringing import followed


def renew(*, instance: Mailbox, raw: bool, **_: Any) -> None:
    """Before a loaded mailbox is saved: pages of before must not go on counting."""
    if raw:
        instance.epoch = make_epoch()


def mark(*, instance: UserNotification | UserProfile, raw: bool, **_: Any) -> None:
    """Before a loaded row is saved: whatever its dump says, it has to be stamped."""
    if raw:
        instance.pending = True


def follow(
    *, instance: UserNotification | UserProfile, raw: bool, using: str, **_: Any
) -> None:
    """After it is saved: stamp when all of the fixture is there."""
    if raw:
        with followed(using) as users:
            users.add(instance.user_id)
