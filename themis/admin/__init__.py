"""
Notifications and profiles in Django's admin.

A host that has an `AdminSite` of its own registers `UserNotificationAdmin` and
`UserProfileAdmin` there. `send_notification` is an action for the host's user admin.
"""

from themis.admin.notifications import UserNotificationAdmin
from themis.admin.profiles import UserProfileAdmin
from themis.admin.sending import send_notification

__all__ = ["UserNotificationAdmin", "UserProfileAdmin", "send_notification"]
