"""Names of groups are valid for Channels, whatever a user's key is."""

import uuid

from channels.layers import BaseChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from realtime.groups import group_of

_keys = st.integers().map(str) | st.uuids().map(str) | st.text(max_size=300)


@given(_keys)
def test_every_key_gets_a_valid_name(key: str) -> None:
    assert BaseChannelLayer().require_valid_group_name(group_of(key))


@given(_keys, _keys)
def test_two_users_never_share_a_group(one: str, other: str) -> None:
    assert (group_of(one) == group_of(other)) == (one == other)


def test_every_process_finds_the_same_name() -> None:
    key = str(uuid.UUID(int=42))
    assert group_of(key) == "themis.user.5e6e09487303ac1699db96bb369573db"
