"""A browser in which somebody is signed in."""

import pytest
from django.contrib.auth.models import User
from django.test import Client


@pytest.fixture
def client(ada: User) -> Client:
    """A browser in which ada is signed in; CSRF is checked, as everywhere outside."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    return client
