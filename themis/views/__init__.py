"""The pages: the list, the preferences, and the link that opens a notification."""

from themis.views.inbox import NotificationListView
from themis.views.opening import open_notification
from themis.views.preferences import PreferencesView

__all__ = ["NotificationListView", "PreferencesView", "open_notification"]
