"""What host code may listen to."""

from django.dispatch import Signal

# Sent after the commit, once for each notification that was made, with
# `sender=UserNotification` and `notification`, the row. Errors of receivers are logged.
# Nothing inside Themis listens.
notification_created = Signal()
