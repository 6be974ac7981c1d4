"""Servers on one database and one broker, and the links between them."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.faults.failpoints import to_environment
from tests.faults.ledger import Ledger
from tests.faults.links import Link
from tests.faults.probes import FaultyServer
from tests.processes import RedisServer


class Plant:
    """
    What scenarios run on, one after the other.

    The servers reach Redis by `redis_link` and the database by `database_link`; pages
    reach server n by `links[n]`. `environment` gives another process the same ways.
    """

    redis_link: Link
    database_link: Link

    def __init__(
        self,
        *,
        database_url: str,
        redis_server: RedisServer | None,
        servers: int = 2,
        failpoints: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.database_url = database_url
        self.redis_server = redis_server
        self.ledger = Ledger(database_url)
        self._stack = ExitStack()
        self._links: list[Link] = []
        redis_url = ""
        if redis_server is not None:
            self.redis_link = self._link(redis_server.port)
            redis_url = f"redis://127.0.0.1:{self.redis_link.port}/0"
        url = database_url
        if url.startswith("postgres"):
            self.database_link = self._link(urlsplit(url).port or 5432)
            port = self.database_link.port
            url = urlsplit(url)._replace(netloc=f"themis@127.0.0.1:{port}").geturl()
        variables = {"DJANGO_DEBUG": "1", **(env or {})}
        self.servers = [
            FaultyServer(
                database_url=url,
                redis_url=redis_url,
                env=variables | to_environment(failpoints or {}),
            )
            for _ in range(servers)
        ]
        self.links = [self._link(server.port) for server in self.servers]

    def _link(self, port: int) -> Link:
        link = self._stack.enter_context(Link(port))
        self._links.append(link)
        return link

    def __enter__(self) -> Self:
        self._stack.callback(self._end_servers)
        with ThreadPoolExecutor(len(self.servers)) as pool:
            list(pool.map(FaultyServer.start, self.servers))
        self.ledger.watch()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _end_servers(self) -> None:
        for server in self.servers:
            server.close()

    def mend(self) -> None:
        """Make all whole again, whatever a scenario has left."""
        for link in self._links:
            link.mend()
        if self.redis_server is not None:
            self.redis_server.resume()
            self.redis_server.start()
        for server in self.servers:
            server.resume()
            server.start()
            server.arrange()

    def environment(
        self, failpoints: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        """What another process needs, and what breaks in it."""
        return self.servers[0].environment() | to_environment(failpoints or {})

    def count_unhandled(self) -> int:
        """How many lines of the servers' logs tell of what nobody handled."""
        return sum(len(server.unhandled()) for server in self.servers)
