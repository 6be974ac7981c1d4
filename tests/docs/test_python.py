"""Python blocks do what they say."""

import inspect
import io
import unittest
from importlib import import_module

import pytest

from tests.docs.blocks import Block, claim, each
from tests.docs.contexts import CONTEXTS, Names, run


@each([block for name in CONTEXTS for block in claim("run", **{"in": name})])
@pytest.mark.django_db(transaction=True)
def test_a_python_block_does_what_it_says(block: Block) -> None:
    names: Names = {}
    with CONTEXTS[block.options["in"]](names):
        run(block, names)


@each(claim("testcase"))
@pytest.mark.django_db(transaction=True)
def test_a_hosts_tests_pass(block: Block) -> None:
    names = run(block, {"__name__": "host"})
    (case,) = (
        case
        for case in names.values()
        if isinstance(case, type)
        and issubclass(case, unittest.TestCase)
        and case.__module__ == "host"
    )
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    report = io.StringIO()
    outcome = unittest.TextTestRunner(report).run(suite)
    assert outcome.testsRun
    assert outcome.wasSuccessful(), report.getvalue()


@each(claim("signature"))
def test_a_signature_is_that_of_the_code(block: Block) -> None:
    module, _, name = block.options["of"].rpartition(".")
    actual = inspect.signature(getattr(import_module(module), name))
    lazy = "from __future__ import annotations\n"
    names: Names = {}
    exec(lazy + block.text, names)  # noqa: S102
    assert str(inspect.signature(names[name])) == str(actual)
