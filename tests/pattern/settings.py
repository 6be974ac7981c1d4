# fmt: off
"""The block "Settings"."""

THEMIS_NOTIFICATION_POLL_INTERVAL = 60   # bell polling, seconds, 0 = disabled
THEMIS_NOTIFICATION_MAX_AGE_DAYS = 90    # hard ceiling for clean-up
