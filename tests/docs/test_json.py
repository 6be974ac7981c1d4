"""Frames, and the bodies of requests."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.docs.blocks import Block, claim, each, read
from themis.api import notifications


def _shape(value: object) -> object:
    """The types and keys of a JSON value; of a list, those of its first item."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value[:1]]
    return type(value).__name__


@each(claim("equals"))
def test_a_frame_is_the_one_that_both_sides_test(block: Block) -> None:
    assert json.loads(block.text) == json.loads(read(block.argument))


@each(claim("like"))
def test_a_frame_has_the_shape_that_both_sides_test(block: Block) -> None:
    shown, tested = (
        _shape(json.loads(block.text)),
        _shape(json.loads(read(block.argument))),
    )
    assert isinstance(shown, dict)
    assert isinstance(tested, dict)
    assert shown.keys() == tested.keys()
    for name, shape in shown.items():
        if shape == []:
            continue
        if name != "items":
            assert shape == tested[name]
            continue
        (item,), (known,) = shape, tested[name]
        nullable = {"read_at", "expires_at"}
        assert item.keys() == known.keys()
        assert {key: item[key] for key in item.keys() - nullable} == {
            key: known[key] for key in known.keys() - nullable
        }


@each(claim("body"))
def test_a_body_is_one_that_the_api_takes(block: Block) -> None:
    verb: Any = block.options["of"]
    body = json.loads(block.text)
    assert notifications.parse_selection(body, verb).keys() == body.keys()


@each(claim("preferences"))
@pytest.mark.django_db
def test_preferences_are_some_that_the_api_takes(block: Block, client: Client) -> None:
    client.force_login(User.objects.create_user("ada"))
    where = reverse("themis:api-preferences")
    answer = client.patch(where, block.text, content_type="application/json").json()
    assert json.loads(block.text).items() <= answer.items()
