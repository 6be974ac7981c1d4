"""The people of the demo's tests."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from themis.models import UserNotification

SignedIn = Callable[[User], Client]


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def grace() -> User:
    return User.objects.create_user("grace")


@pytest.fixture
def eve() -> User:
    """Somebody who has nothing to do with it."""
    return User.objects.create_user("eve")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def shown_to(user: User) -> list[str]:
    """The titles that the user's list shows, the oldest first."""
    rows = UserNotification.objects.filter(user=user).listed().order_by("pk")
    return [row.title for row in rows]


def unread_of(user: User) -> int:
    return UserNotification.objects.filter(user=user).unread().count()
