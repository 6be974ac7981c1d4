"""What client frames mean, and that nothing else gets through."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol import (
    MAX_FRAME_BYTES,
    MAX_REVISION,
    Ack,
    CloseCode,
    MalformedFrameError,
    Ping,
    Position,
    Sync,
    error_frame,
    parse,
    parse_position,
    ping_frame,
    pong_frame,
    restart_frame,
)

ROOT = Path(__file__).parents[2]
WIRE = ROOT / "tests" / "wire"

_short = st.text(max_size=5)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _short,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(_short, inner, max_size=2)
    ),
    max_leaves=5,
)
# Almost right: the right keys with anything in them.
_nearly = st.fixed_dictionaries(
    {"type": st.sampled_from(["sync", "ping", "ack", "pong"]) | _json},
    optional={"since": _json, "epoch": _json, "revision": _json},
)


def read(name: str) -> str:
    return (WIRE / f"{name}.json").read_text()


# No server passes on lone surrogates; but that is theirs to ensure.
@given(st.text(alphabet=st.characters()) | st.none())
def test_any_text_is_understood_or_malformed(text: str | None) -> None:
    with contextlib.suppress(MalformedFrameError):
        parse(text)


@given(_json | _nearly)
def test_any_json_is_understood_or_malformed(frame: Any) -> None:
    with contextlib.suppress(MalformedFrameError):
        parsed = parse(json.dumps(frame))
        assert isinstance(parsed, Sync | Ping | Ack)


@given(_json, _json)
def test_a_position_is_both_or_neither(since: Any, epoch: Any) -> None:
    with contextlib.suppress(MalformedFrameError):
        position = parse_position(since, epoch)
        assert (position.since is None) == (position.epoch is None)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("sync", Sync(Position(19, "3f9c1b7de0524a41b8a6e2f7c05d1b96"))),
        ("client-ping", Ping()),
        ("ack", Ack(19)),
    ],
)
def test_frames_of_pages_are_understood(name: str, meaning: object) -> None:
    assert parse(read(name)) == meaning


@pytest.mark.parametrize("name", ["snapshot", "changes", "pong", "restart", "error"])
def test_frames_of_the_server_are_not_for_it(name: str) -> None:
    with pytest.raises(MalformedFrameError):
        parse(read(name))


def test_frames_of_the_server_are_as_written_down() -> None:
    for name, make in (("ping", ping_frame), ("pong", pong_frame)):
        written = json.loads(read(name))
        made = json.loads(make(written["epoch"], written["revision"]))
        assert made == written
    written = json.loads(read("error"))
    assert json.loads(error_frame(written["detail"])) == written
    written = json.loads(read("restart"))
    assert json.loads(restart_frame(written["retry_ms"])) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ping",
        "null",
        "[]",
        "{}",
        '{"type": "notify"}',
        '{"type": ["ping"]}',
        '{"type": "ack"}',
        '{"type": "ack", "revision": -1}',
        '{"type": "ack", "revision": true}',
        '{"type": "ack", "revision": 1.0}',
        '{"type": "ack", "revision": "1"}',
        f'{{"type": "ack", "revision": {MAX_REVISION + 1}}}',
        '{"type": "ack", "revision": 1' + "0" * 4000 + "}",
        '{"type": "sync", "since": -1, "epoch": "e"}',
        '{"type": "sync", "since": 1, "epoch": ""}',
        '{"type": "sync", "since": 1, "epoch": 1}',
        '{"type": "sync", "since": 1, "epoch": "' + "e" * 65 + '"}',
        '{"type": "ping"} ' + " " * MAX_FRAME_BYTES,
        '{"type": "ping", "x": "' + "ü" * (MAX_FRAME_BYTES // 2) + '"}',
        "[" * MAX_FRAME_BYTES,
        None,
    ],
)
def test_anything_else_is_malformed(text: str | None) -> None:
    with pytest.raises(MalformedFrameError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('{"type": "sync"}', Sync(Position())),
        ('{"type": "sync", "since": null, "epoch": null}', Sync(Position())),
        ('{"type": "ping", "from": "a later version"}', Ping()),
        (f'{{"type": "ack", "revision": {MAX_REVISION}}}', Ack(MAX_REVISION)),
        ('{"type": "ping"}'.ljust(MAX_FRAME_BYTES), Ping()),
    ],
)
def test_what_is_just_allowed(text: str, meaning: object) -> None:
    assert parse(text) == meaning


def test_close_codes_are_those_that_pages_know() -> None:
    script = (ROOT / "static" / "themis" / "protocol.js").read_text()
    declared = re.search(r"CLOSE = Object\.freeze\(\{(.*?)\}\)", script, re.DOTALL)
    assert declared
    known = {int(code) for code in re.findall(r": (\d{4})", declared[1])}
    assert {int(code) for code in CloseCode} == known
