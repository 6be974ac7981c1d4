"""Commands exist, and print what stands there."""

import io
import re
import shlex
import sys

from daphne.cli import CommandLineInterface
from django.core.management import call_command
from pytest_django import Settings

import server.security
from server import launch
from tests.docs.blocks import Block, claim, each, read


@each(claim("make"))
def test_the_make_targets_exist(block: Block) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", read("Makefile"), re.MULTILINE))
    asked = [line.split() for line in block.text.splitlines()]
    assert {words[0] for words in asked} == {"make"}
    assert {words[1] for words in asked} <= targets


@each(claim("check"))
def test_the_checks_can_be_asked_for(block: Block) -> None:
    program, script, *arguments = shlex.split(block.text)
    assert (program, script) == ("python", "manage.py")
    call_command(*arguments, stdout=io.StringIO(), stderr=io.StringIO())


@each(claim("daphne"))
def test_the_daphne_command_parses(block: Block) -> None:
    program, *arguments = shlex.split(block.text)
    assert program == "daphne"
    options = CommandLineInterface().parser.parse_args(arguments)
    assert options.application == "mysite.asgi:application"
    assert options.ping_timeout <= options.ping_interval


@each(claim("output"))
def test_what_is_printed_is_what_stands_there(block: Block, settings: Settings) -> None:
    settings.DEBUG = True
    actual = {
        "welcome": lambda: launch.welcome("http://127.0.0.1:8000/").replace(
            sys.executable, ".venv/bin/python"
        ),
        "policy": lambda: server.security.PAGES,
    }
    assert block.text.strip() == actual[block.options["of"]]().strip()
