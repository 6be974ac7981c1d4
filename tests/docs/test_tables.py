"""The tables of the reference are those of the code."""

import ast
import asyncio
import inspect
import json
import re
from http import HTTPStatus
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

import themis.notifications
import themis.test
from realtime.hub import running_hubs
from realtime.metrics import METRICS, Histogram
from realtime.operations import Operations
from realtime.protocol import CloseCode
from tests.docs.blocks import Block, claim, code, each, read, table
from tests.docs.test_pages import stylesheet_properties
from tests.processes import ROOT
from tests.realtime.test_operations import ask
from tests.server import test_logs
from themis import conf, urls
from themis.api import notifications
from themis.listing import Filters
from themis.models import Level, UserNotification, UserProfile


def reference(page: str, *header: str) -> list[list[str]]:
    return table(f"docs/reference/{page}.md", *header)


def test_the_settings_are_those_of_the_code() -> None:
    told = {}
    for name, default, *_ in reference("settings", "Setting", "Default"):
        told[code(name)[0]] = ast.literal_eval(code(default)[0])
    actual = {}
    for member in vars(conf.Settings).values():
        if isinstance(member, property) and member.fget:
            (name,) = re.findall(r'"(THEMIS_\w+)"', inspect.getsource(member.fget))
            actual[name] = member.fget(conf.settings)
    assert told == actual


def test_every_public_name_is_told() -> None:
    told = read("docs/reference/python.md")
    fields = [one.name for one in UserNotification._meta.fields if one.editable]
    names = [*themis.notifications.__all__, *themis.test.__all__, *fields]
    assert [one for one in names if not re.search(rf"\b{one}\b", told)] == []


def test_the_commands_are_those_of_the_code() -> None:
    told = re.findall(r"^\*\*`(\w+)", read("docs/reference/commands.md"), re.MULTILINE)
    code = ROOT.glob("themis/management/commands/[a-z]*.py")
    assert sorted(told) == sorted(path.stem for path in code)


def test_every_frame_is_shown() -> None:
    shown = set(re.findall(r'"type": ?"(\w+)"', read("docs/reference/protocol.md")))
    examples = [json.loads(path.read_text()) for path in ROOT.glob("tests/wire/*.json")]
    frames = {frame["type"] for frame in examples} - {"about:blank"}
    assert shown == frames


def test_every_habit_has_a_target() -> None:
    targets = re.findall(r"^([a-z0-9-]+): .*## ", read("Makefile"), re.MULTILINE)
    told = re.findall(r"`(?:\w+=\w+ )?make ([^`]*)`", read("CONTRIBUTING.md"))
    assert set(targets) <= set(" ".join(told).split())


def test_the_environment_is_that_of_the_server() -> None:
    told = {code(row[0])[0] for row in reference("settings", "Variable", "Default")}
    source = "".join(path.read_text() for path in ROOT.glob("server/*.py"))
    read = re.findall(r'environment\.\w+\(\s*"([A-Z_]+)"', source)
    assert told == {name for name in read if not name.startswith("THEMIS_")}


@pytest.mark.django_db
def test_the_endpoints_are_those_of_the_code(client: Client) -> None:
    client.force_login(User.objects.create_user("ada"))
    told = {}
    for methods, path, name, *_ in reference("http", "Methods", "Path"):
        told[code(name)[0]] = (code(path)[0] if code(path) else "", methods)
    actual = {}
    for pattern in urls.urlpatterns:
        where = reverse(
            f"themis:{pattern.name}", args=[1] if "pk" in str(pattern) else []
        )
        allowed = client.generic("PURGE", where)["Allow"].split(", ")
        methods = ", ".join(m for m in allowed if m not in {"HEAD", "OPTIONS"})
        actual[pattern.name] = (str(pattern.pattern), methods)
    assert told == actual


def test_the_parameters_of_the_list_are_those_of_the_code() -> None:
    rows = reference("http", "Parameter", "Default")
    told = {code(name)[0]: code(default) for name, default, *_ in rows}
    assert told.keys() == notifications.PARSERS.keys()
    assert told["limit"] == [str(notifications.DEFAULT_LIMIT)]
    assert told["state"] == [Filters().state]


def test_the_statuses_are_those_of_the_code() -> None:
    told = {int(row[0]) for row in reference("http", "Status")}
    source = "".join(path.read_text() for path in ROOT.glob("themis/api/*.py"))
    used = set(re.findall(r"HTTPStatus\.([A-Z_]+)", source))
    assert told == {int(HTTPStatus[name]) for name in used - {"NOT_MODIFIED"}}


def test_the_close_codes_are_those_of_both_sides() -> None:
    rows = reference("protocol", "Close code")
    script = read("static/themis/protocol.js")
    constants = re.search(r"CLOSE = Object\.freeze\(\{(.*?)\}", script, re.DOTALL)
    assert constants
    known = {int(number) for number in re.findall(r": (\d+)", constants[1])}
    assert {int(row[0]) for row in rows} == known | {code.value for code in CloseCode}
    source = "".join(path.read_text() for path in ROOT.glob("realtime/*.py"))
    sent = {code.value for code in CloseCode if f"CloseCode.{code.name}" in source}
    assert {int(row[0]) for row in rows if row[1] == "yes"} == sent


def test_the_metrics_are_those_of_the_code() -> None:
    told = [
        (code(name)[0], kind, "".join(code(label)), meaning)
        for name, kind, label, meaning in reference("operations", "Metric", "Type")
    ]
    assert told == [
        (one.name, one.type, one.label, one.meaning) for one in METRICS.values()
    ]


def test_the_operations_are_those_of_the_code() -> None:
    paths = {code(row[0])[0] for row in reference("operations", "Path", "Answers")}
    assert paths == set(Operations(None)._answers)


@each(claim("readyz"))
@pytest.mark.django_db(transaction=True)
def test_readiness_has_the_parts_that_stand_there(block: Block) -> None:
    async def ask_once() -> Any:
        answer = await ask(Operations(None), "/readyz")
        for hub in running_hubs():
            await hub.stop()
        return answer.json

    # There is no broker here.
    assert json.loads(block.text) == asyncio.run(ask_once()) | {"broker": "ok"}


@each(claim("log"))
def test_a_line_of_the_log_is_the_one_that_stands_there(block: Block) -> None:
    message = "Repaired %d mailboxes whose push was lost."
    written = test_logs.line("realtime", message, 3, event="repaired", mailboxes=3)
    shown = json.loads(block.text)
    assert len(shown.pop("time")) == len(written.pop("time"))
    assert list(shown.items()) == list(written.items())


def test_the_events_in_the_logs_are_those_of_the_code() -> None:
    told = {
        code(name)[0]: code(logger)[0]
        for name, logger, *_ in reference("operations", "Logged", "Logger")
    }
    actual = {}
    for path in [*ROOT.glob("realtime/*.py"), *ROOT.glob("themis/*.py")]:
        for name in re.findall(r'"event": "(\w+)"', path.read_text()):
            actual[name] = path.parent.name
    assert told == actual


@each(claim("prometheus"))
def test_what_prometheus_is_told_exists(block: Block) -> None:
    parsed = yaml.safe_load(block.text)
    assert parsed.keys() <= {"scrape_configs", "groups"}
    for group in parsed.get("groups", ()):
        for rule in group["rules"]:
            (name,) = set(re.findall(r"\bthemis_\w+", rule["expr"])) - {
                "themis_failed_checks_total"
            }
            metric = METRICS[name.removesuffix("_bucket")]
            assert name.endswith("_bucket") == isinstance(metric, Histogram)
            assert rule["alert"].startswith("Themis")


def test_the_levels_are_those_of_the_code() -> None:
    told = {
        code(row[0])[0]: int(row[1]) for row in reference("python", "Level", "Weight")
    }
    assert told == {level.value: level.weight for level in Level}


def test_the_profile_is_that_of_the_model() -> None:
    told = {
        code(name)[0]: ast.literal_eval(code(default)[0])
        for name, default, *_ in reference("python", "Field", "Default")
    }
    hidden = {"id", "user", "pending"}
    profile = UserProfile()
    assert told == {
        one.name: getattr(profile, one.name)
        for one in UserProfile._meta.concrete_fields
        if one.name not in hidden
    }


def test_the_events_are_those_of_the_script() -> None:
    told = {
        code(name)[0]: code(properties)
        for name, properties, *_ in reference("browser", "Event")
    }
    actual = {}
    for text in read("static/themis/events.js").split("export class")[1:]:
        (name,) = re.findall(r'super\("(themis:\w+)"', text)
        actual[name] = re.findall(r"this\.(\w+) =", text)
    assert told == actual


def test_the_attributes_are_those_of_the_template() -> None:
    told = {code(row[0])[0] for row in reference("browser", "Attribute")}
    bell = re.search(r"<themis-bell ([^>]*)>", read("templates/themis/bell.html"))
    assert bell
    assert told == set(re.findall(r"(data-[a-z-]+)=", bell[1]))


def test_the_keys_are_those_of_the_list() -> None:
    told = {key for row in reference("browser", "Key") for key in code(row[0])}
    keys = re.findall(
        r'^  \["([a-z+]+)", "\w+"\],$', read("static/themis/keys.js"), re.MULTILINE
    )
    assert {key.lower() for key in told} == {*keys, "enter", "?"}
    shown = re.findall(r"<kbd>(.+?)</kbd>", read("templates/themis/bell.html"))
    assert {*shown} == {*"↓↑JKEIUZ", "Enter", "Shift", "Esc"}


def test_what_a_device_does_is_what_its_element_says() -> None:
    told = {code(row[0])[0] for row in reference("browser", "`data-state`")}
    script = read("static/themis/device.js")
    shapes = read("static/themis/types.d.ts")
    states = re.search(r"type DeviceState = (.*);", shapes)
    assert states
    known = {*re.findall(r'"(\w+)"', states[1]), "account"}
    texts = re.findall(r'data-text="([\w-]+)"', read("templates/themis/_desktop.html"))
    assert told == known == set(texts) - {"turn-on", "turn-off", "failed"}
    flags = {code(row[0])[0] for row in reference("browser", "Flag")}
    kept = re.findall(r'this\.#keep\("([\w-]+)"', script)
    assert flags == {f"themis:<data-user>:{flag}" for flag in kept}


def test_the_custom_properties_are_those_of_the_stylesheet() -> None:
    rows = reference("css", "Property")
    told = {name for row in rows for name in code(row[0])}
    assert told == stylesheet_properties()
