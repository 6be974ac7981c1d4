"""Templates, styles and scripts."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings

from tests.conftest import Serve, SignIn
from tests.docs.blocks import Block, claim, each, read
from tests.processes import ROOT
from tests.waiting import wait_until


@each(claim("tag"))
@pytest.mark.django_db
def test_the_tag_renders_the_bell(block: Block) -> None:
    request: Any = RequestFactory().get("/")
    request.user = User.objects.create_user("ada")
    assert "<themis-bell" in Template(block.text).render(Context({"request": request}))


@each(claim("link"))
def test_a_link_leads_to_the_preferences(block: Block) -> None:
    html = Template(block.text).render(Context())
    assert f'href="{reverse("themis:preferences")}"' in html


_SITE = "{% block title %}{% endblock %}{% block head %}{% endblock %}<body>{% block body %}{% endblock %}"  # noqa: E501 -- a line of HTML


@each(claim("template"))
@pytest.mark.django_db
def test_the_list_page_takes_the_hosts_frame(
    block: Block, client: Client, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "themis").mkdir()
    (tmp_path / "themis/base.html").write_text(block.text)
    (tmp_path / "site.html").write_text(_SITE)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    client.force_login(User.objects.create_user("ada"))
    page = client.get(reverse("themis:list")).content.decode()
    before, _, body = page.partition("<body>")
    assert "themis/themis.css" in before
    assert "<themis-bell" in body
    assert "themis-inbox" in body


def stylesheet_properties() -> set[str]:
    style = read("static/themis/themis.css")
    used = set(re.findall(r"var\(\s*(--themis-[a-z-]+)", style))
    scripts = "".join(path.read_text() for path in ROOT.glob("static/themis/*.js"))
    return used - set(re.findall(r"--themis-[a-z-]+", scripts))


@each(claim("css"))
def test_the_custom_properties_exist(block: Block) -> None:
    set_there = set(re.findall(r"^\s*(--[a-z-]+):", block.text, re.MULTILINE))
    assert set_there
    assert set_there <= stylesheet_properties()


(CONSOLE,) = claim("console")


@each(claim("javascript"))
@pytest.mark.once
def test_the_script_hears_the_bell(block: Block, serve: Serve, sign_in: SignIn) -> None:
    one = serve()
    page = sign_in(one)
    page.wait_for_selector("themis-bell")
    wait_until(lambda: page.evaluate(CONSOLE.text) == "open")
    page.evaluate(f"() => {{ {block.text} }}")
    notify = (
        "from themis.notifications import notify_user\n"
        "notify_user(User.objects.get(username='ada'), 'A task')"
    )
    one.manage("shell", "-v0", "-c", notify)
    wait_until(lambda: page.title() == "A task (1)")
