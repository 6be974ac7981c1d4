"""Single faults that go on for a while and are mended, to be combined."""

import time
from collections.abc import Callable
from functools import partial

from tests.faults.cluster import Cluster

# For some seconds, in a thread of its own.
Trouble = Callable[[Cluster, float], None]


def kicks(cluster: Cluster, seconds: float) -> None:
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        number += 1
        cluster.links[number % len(cluster.links)].cut()
        time.sleep(0.1)


def network_drop(cluster: Cluster, seconds: float) -> None:
    cluster.links[0].sever()
    time.sleep(seconds / 2)
    cluster.links[0].mend()


def redis_killed(cluster: Cluster, seconds: float) -> None:
    assert cluster.redis_server is not None
    cluster.redis_server.kill()
    time.sleep(seconds / 2)
    cluster.redis_server.start()


def redis_frozen(cluster: Cluster, seconds: float) -> None:
    assert cluster.redis_server is not None
    cluster.redis_server.pause()
    time.sleep(seconds / 2)
    cluster.redis_server.resume()


def broker_line_cut(cluster: Cluster, seconds: float) -> None:
    """Servers and writers lose Redis; it lives."""
    cluster.redis_link.sever()
    time.sleep(seconds / 2)
    cluster.redis_link.mend()


def broker_line_stalled(cluster: Cluster, seconds: float) -> None:
    cluster.redis_link.stall()
    time.sleep(seconds / 2)
    cluster.redis_link.mend()


def slow_database(cluster: Cluster, seconds: float) -> None:
    cluster.database_link.delay(0.01)
    time.sleep(seconds)
    cluster.database_link.delay(0)


def server_killed(cluster: Cluster, seconds: float) -> None:
    cluster.servers[0].kill()
    time.sleep(seconds / 4)
    cluster.servers[0].start()


def server_frozen(cluster: Cluster, seconds: float) -> None:
    cluster.servers[0].pause()
    time.sleep(seconds / 2)
    cluster.servers[0].resume()


def lossy_layer(cluster: Cluster, seconds: float, *, server: int = 1) -> None:
    """One of the servers loses half of what it publishes."""
    layer = {"drop": 0.5, "duplicate": 0.3, "delay": 0.3}
    cluster.servers[server].arrange(layer=layer, seed=cluster.seed)
    time.sleep(seconds)
    cluster.servers[server].arrange()


TROUBLES: dict[str, Trouble] = {
    "sockets kicked": kicks,
    "network drop": network_drop,
    "redis killed": redis_killed,
    "redis frozen": redis_frozen,
    "broker's line cut": broker_line_cut,
    "broker's line stalled": broker_line_stalled,
    "slow database": slow_database,
    "server killed": server_killed,
    "server frozen": server_frozen,
    "lossy layer": partial(lossy_layer, server=1),
}
