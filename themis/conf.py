"""Django's settings as Themis reads them: typed, with the default beside each name.

Every property but ``profile_related_name`` is read on access, never at import, so that
``override_settings`` and late configuration work.
"""

from __future__ import annotations

from django.apps import apps
from django.conf import settings as django_settings

CHANNELS_BROADCASTER = "realtime.broadcasting.ChannelsBroadcaster"


class Settings:
    """Shadow Django's settings with a little logic."""

    @property
    def poll_interval(self) -> int:
        """Seconds between two polls of a page without a socket; 0 = never poll."""
        return int(getattr(django_settings, "THEMIS_NOTIFICATION_POLL_INTERVAL", 60))

    @property
    def max_age_days(self) -> int:
        """Days after which clean-up deletes what is read or dismissed."""
        return int(getattr(django_settings, "THEMIS_NOTIFICATION_MAX_AGE_DAYS", 90))

    @property
    def broadcaster(self) -> str | None:
        """Dotted path of the broadcaster; None = nothing is pushed, pages poll."""
        default = CHANNELS_BROADCASTER if apps.is_installed("realtime") else None
        return getattr(django_settings, "THEMIS_BROADCASTER", default)

    @property
    def realtime_url(self) -> str | None:
        """Where browsers find the socket, if not at the default path."""
        return getattr(django_settings, "THEMIS_REALTIME_URL", None)

    @property
    def check_interval(self) -> float | None:
        """Seconds between two runs of the reconciler; None = it chooses by itself."""
        value = getattr(django_settings, "THEMIS_REALTIME_CHECK_INTERVAL", None)
        # Servers run no system checks, and without this check what is lost stays so.
        return value if isinstance(value, int | float) else None

    @property
    def max_connections_per_user(self) -> int:
        """Sockets that one user may hold open per server process."""
        return int(
            getattr(django_settings, "THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER", 20)
        )

    @property
    def session_check_interval(self) -> float:
        """Seconds between two checks of the sessions that have sockets."""
        value = getattr(django_settings, "THEMIS_REALTIME_SESSION_CHECK_INTERVAL", 60)
        # Servers run no system checks, and without this check nobody is signed out.
        return value if isinstance(value, int | float) and value > 0 else 60

    @property
    def profile_related_name(self) -> str:
        """Name of the profile on the user model; read once, at import of the models."""
        return str(getattr(django_settings, "THEMIS_PROFILE_RELATED_NAME", "profile"))


settings = Settings()
