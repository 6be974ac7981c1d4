"""The systems that are compared."""

from __future__ import annotations

from benchmarks.peers.base import Peer
from benchmarks.peers.channels import ChannelsDaphne, ChannelsUvicorn
from benchmarks.peers.eventstream import EventStream
from benchmarks.peers.node import SocketIONode
from benchmarks.peers.socketio import SocketIOPython
from benchmarks.peers.themis import (
    ThemisDaphne,
    ThemisGranian,
    ThemisUvicorn,
    ThemisUvicornPair,
)

# What the others' figures are divided by.
REFERENCE = ChannelsDaphne.key

# In the order of a round.
PEERS: dict[str, type[Peer]] = {
    peer.key: peer
    for peer in (
        ChannelsDaphne,
        ThemisDaphne,
        ChannelsUvicorn,
        ThemisUvicorn,
        SocketIOPython,
        ThemisGranian,
        EventStream,
        SocketIONode,
        ThemisUvicornPair,
    )
}
# Those with one process each.
COMPARED = [key for key in PEERS if key != ThemisUvicornPair.key]
# Who shows how cost grows.
GROWING = (ThemisUvicorn, ThemisUvicornPair)
