"""Every block is run, or says why not."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.blocks import BLOCKS, PAGES, claimed, read

# They claim when they are loaded, which this module alone would not do.
for module in Path(__file__).parent.glob("test_*.py"):
    if module != Path(__file__):
        import_module(f"{__package__}.{module.stem}")


def test_every_block_is_run_or_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    left = [block for block in BLOCKS if block.action == "not run"]
    assert all(block.argument for block in left)
    assert {str(b) for b in BLOCKS} == {str(b) for b in claimed | set(left)}
    fences = sum(len(re.findall(r"^```\w", read(p), re.MULTILINE)) for p in PAGES)
    assert fences == len(BLOCKS)
    with capsys.disabled():
        print(f"\n{len(BLOCKS) - len(left)} blocks run or checked, {len(left)} not:")  # noqa: T201
        for block in left:
            print(f"  {block}: {block.argument}")  # noqa: T201
