"""The rules: who is told what."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from themis.models import Level

# Of `profile`, a user's row in themis_userprofile, which may be missing: then the
# defaults hold. A minimum that no form writes is no reason to skip anybody.
WANTED = """(profile.user_id IS NULL OR (profile.notifications_enabled = %(yes)s
    AND profile.notification_min_level NOT IN (%(higher1)s, %(higher2)s)))"""


# Asked for by each call, and made of few levels.
@cache
def minimums_above(level: Level) -> Mapping[str, str]:
    """Return the parameters of `WANTED`: the minimum levels that *level* misses."""
    higher = [least.value for least in Level if least.weight > level.weight]
    # As many as there are at most; what is repeated changes nothing, nor does "".
    higher += [""] * (2 - len(higher))
    return MappingProxyType(
        {f"higher{number}": least for number, least in enumerate(higher, start=1)}
    )
