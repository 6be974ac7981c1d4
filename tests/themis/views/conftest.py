"""Two people, and a browser in which one of them is signed in."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.themis.conftest import make_user


@pytest.fixture
def ada() -> User:
    return make_user("ada")


@pytest.fixture
def grace() -> User:
    return make_user("grace")


@pytest.fixture
def client(ada: User) -> Client:
    """A browser in which ada is signed in; CSRF is checked, as everywhere outside."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    return client
