"""The database ends, hangs, refuses, forgets and is locked, while others write."""

import contextlib
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.faults.cluster import NEVER, SOON, THOROUGH, Cluster, StartCluster
from tests.faults.pages import PageLog
from tests.processes import PostgresServer
from tests.waiting import wait_until

# A machine that does other things besides may take this many times what is promised.
BUSY = 5
# What a host's own code is told while the database is away: nobody can spare it that.
AWAY = ("clos", "connection", "terminat", "refused", "starting up", "shutting down")


def start(
    start_cluster: StartCluster, *, people: int = 3, **options: Any
) -> tuple[Cluster, list[str]]:
    options = {"THEMIS_REALTIME_CHECK_INTERVAL": SOON} | options
    cluster = start_cluster(**options)
    cluster.writer()
    names = cluster.people(people)
    cluster.open_all(names)
    return cluster, names


def write(cluster: Cluster, count: int, user: str, word: str) -> list[str]:
    titles = [f"{word} {number}" for number in range(count)]
    for title in titles:
        cluster.writers[-1].write("plain", title, user)
    return titles


def shows(page: PageLog, title: str) -> bool:
    return title in {seen for _pk, seen in page.seen}


def all_show(cluster: Cluster, user: str, title: str) -> bool:
    pages = [page for page in cluster.pages if page.user == user]
    return all(shows(page, title) for page in pages if page.state != "stopped")


def disconnects(cluster: Cluster) -> int:
    """How often pages have lost their sockets."""
    return sum(
        state not in {"connecting", "open"}
        for page in cluster.pages
        for _at, state in page.states
    )


def admin(cluster: Cluster, *statements: str) -> None:
    """From the database beside: what one does to a database as a whole."""
    address, _slash, _name = cluster.database_url.rpartition("/")
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.format(name=name_of(cluster)))


def name_of(cluster: Cluster) -> str:
    return cluster.database_url.rpartition("/")[2]


# As CREATE DATABASE and ALTER DATABASE … RENAME want it.
ALONE = (
    "ALTER DATABASE {name} ALLOW_CONNECTIONS false",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    "SELECT pg_sleep(0.2)",
)
OPEN = "ALTER DATABASE {name} ALLOW_CONNECTIONS true"


def back_up(cluster: Cluster) -> None:
    admin(cluster, *ALONE, "CREATE DATABASE {name}_old TEMPLATE {name}", OPEN)


def restore(cluster: Cluster) -> None:
    admin(
        cluster,
        *ALONE,
        "ALTER DATABASE {name} RENAME TO {name}_new",
        "ALTER DATABASE {name}_old RENAME TO {name}",
    )


def said(cluster: Cluster, text: str) -> int:
    """How many lines of the servers' logs have it."""
    lines = [line for server in cluster.servers for line in server.log.splitlines()]
    return sum(text in line for line in lines)


class TestOutages:
    @pytest.mark.parametrize(
        "how", [pytest.param("stopped", marks=pytest.mark.thorough), "killed"]
    )
    def test_a_restart_costs_no_socket_and_no_notification(
        self, start_cluster: StartCluster, postgres_server: PostgresServer, how: str
    ) -> None:
        cluster, people = start(start_cluster)
        done = cluster.writers[0].stream(cluster.seed, people, seconds=4)
        time.sleep(1)
        if how == "stopped":
            postgres_server.stop()
        else:
            postgres_server.kill()
        time.sleep(1)
        assert answer_of(cluster) == (503, "application/problem+json")
        postgres_server.start()
        wait_until(lambda: answer_of(cluster)[0] == 200)
        done()
        assert disconnects(cluster) == 0
        cluster.judge(staleness=BUSY * 2, excused=AWAY)
        for server in cluster.servers:
            assert server.log.count("The database does not answer") <= 2
            assert server.log.count("Traceback") == 0

    @pytest.mark.thorough
    def test_requests_work_again_soon_after_a_long_one(
        self, start_cluster: StartCluster, postgres_server: PostgresServer
    ) -> None:
        """The pool tries ever more rarely to make connections, but within bounds."""
        cluster, people = start(start_cluster)
        postgres_server.stop()
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            assert answer_of(cluster) == (503, "application/problem+json")
        postgres_server.start()
        wait_until(lambda: answer_of(cluster)[0] == 200, within=BUSY * 2)
        cluster.writer()
        write(cluster, 3, people[0], "after")
        cluster.judge(staleness=BUSY * 2, excused=AWAY)

    @pytest.mark.thorough
    def test_one_that_hangs_is_waited_for(
        self, start_cluster: StartCluster, postgres_server: PostgresServer
    ) -> None:
        cluster, people = start(start_cluster)
        done = cluster.writers[0].stream(cluster.seed, people, seconds=4)
        time.sleep(1)
        postgres_server.pause()
        time.sleep(2)
        postgres_server.resume()
        done()
        assert disconnects(cluster) == 0
        cluster.judge(staleness=BUSY * 1)

    @pytest.mark.thorough
    def test_connections_that_are_ended_again_and_again(
        self, start_cluster: StartCluster
    ) -> None:
        cluster, people = start(start_cluster)
        done = cluster.writers[0].stream(cluster.seed, people, seconds=4)
        for _time in range(6):
            time.sleep(0.5)
            admin(cluster, ALONE[1])
        done()
        assert disconnects(cluster) == 0
        cluster.judge(staleness=BUSY * 1, excused=AWAY)

    @pytest.mark.thorough
    def test_one_that_takes_no_more_connections(
        self, start_cluster: StartCluster
    ) -> None:
        cluster, people = start(start_cluster)
        with exhausted(cluster):
            assert answer_of(cluster) == (503, "application/problem+json")
            # Pages that come meanwhile are sent away, and come back.
            late = cluster.open(people[0])
            wait_until(lambda: late.state in {"backoff", "polling"})
        wait_until(lambda: late.is_open, within=30)
        cluster.writer()
        write(cluster, 3, people[0], "after")
        cluster.judge()

    def test_sockets_leave_to_requests_what_requests_share(
        self, start_cluster: StartCluster
    ) -> None:
        """Be it a single connection: those that sockets keep are others."""
        cluster, people = start(start_cluster, DATABASE_POOL_SIZE="1")
        for _time in range(5):
            assert answer_of(cluster)[0] == 200
        write(cluster, 3, people[0], "meanwhile")
        cluster.judge()

    @pytest.mark.thorough
    def test_statements_that_take_too_long(self, start_cluster: StartCluster) -> None:
        """An operator's limit, here so low that nothing gets through."""
        cluster, people = start(start_cluster)
        admin(cluster, "ALTER DATABASE {name} SET statement_timeout = 1", ALONE[1])
        with holding_all(cluster):
            time.sleep(2)
        admin(cluster, "ALTER DATABASE {name} RESET statement_timeout", ALONE[1])
        wait_until(lambda: answer_of(cluster)[0] == 200)
        cluster.writer()
        write(cluster, 3, people[0], "after")
        cluster.judge()


def answer_of(cluster: Cluster) -> tuple[int, str]:
    """What a page that polls is told: the status, and of which kind."""
    user = cluster.pages[0].user
    request = urllib.request.Request(
        f"{cluster.servers[0].url}/notifications/api/state",
        headers={"Cookie": f"sessionid={cluster.sessions[user]}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers.get_content_type()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get_content_type()


@contextlib.contextmanager
def exhausted(cluster: Cluster) -> Iterator[None]:
    """All connections are taken, and those of the servers are ended."""
    address, _slash, _name = cluster.database_url.rpartition("/")
    with contextlib.ExitStack() as stack:

        def take_all() -> None:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    taken = psycopg.connect(f"{address}/postgres", autocommit=True)
                    taken_all.append(stack.enter_context(taken))

        taken_all: list[psycopg.Connection[Any]] = []
        take_all()
        while True:
            ended = taken_all[0].execute(ALONE[1].format(name=name_of(cluster)))
            before = len(taken_all)
            time.sleep(0.1)
            take_all()
            if not ended.rowcount and len(taken_all) == before:
                break
        yield


@contextlib.contextmanager
def holding_all(cluster: Cluster) -> Iterator[None]:
    """All mailboxes are locked by somebody."""
    with psycopg.connect(cluster.database_url) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("SELECT * FROM themis_mailbox FOR UPDATE")
        yield
        connection.rollback()


def lose_three(cluster: Cluster, user: str) -> None:
    """Write what pages show and the restored database won't have."""
    spare = cluster.writer()
    # What it wrote is in no book.
    cluster.writers.remove(spare)
    for number in range(3):
        spare.write("plain", f"lost {number}", user)
    wait_until(lambda: all_show(cluster, user, "lost 2"))


class TestOlderDatabase:
    def test_the_servers_notice_it_before_anybody_writes(
        self, start_cluster: StartCluster
    ) -> None:
        """Also for a page that slept meanwhile: the mailbox begins anew for all."""
        cluster, (ada, grace) = start(start_cluster, people=2)
        kept = write(cluster, 3, ada, "kept")
        wait_until(lambda: all_show(cluster, ada, kept[-1]))
        back_up(cluster)
        lose_three(cluster, ada)
        asleep = next(page for page in cluster.pages if page.user == ada)
        cluster.crowd.put_away(asleep)
        wait_until(lambda: asleep.state == "stopped")
        epoch, _revision = asleep.position
        restore(cluster)
        awake = [page for page in cluster.pages if page.user == ada and page != asleep]
        wait_until(lambda: all(page.position[0] != epoch for page in awake))
        assert said(cluster, "went back") == 1
        cluster.writer()
        new = write(cluster, 2, ada, "new")
        cluster.crowd.take_out(asleep)
        cluster.judge()
        for page in awake:
            assert {*new} <= {title for _pk, title in page.rung}
        untouched = [page for page in cluster.pages if page.user == grace]
        assert all(len(page.applied) == 1 for page in untouched)

    @pytest.mark.thorough
    def test_once_it_has_counted_on_the_command_tells_all(
        self, start_cluster: StartCluster
    ) -> None:
        """The numbers agree, and prove nothing: restored while no server ran."""
        cluster, (ada,) = start(start_cluster, people=1)
        kept = write(cluster, 3, ada, "kept")
        wait_until(lambda: all_show(cluster, ada, kept[-1]))
        back_up(cluster)
        lose_three(cluster, ada)
        asleep = cluster.pages[0]
        cluster.crowd.put_away(asleep)
        wait_until(lambda: asleep.state == "stopped")
        for server in cluster.servers:
            server.kill()
        restore(cluster)
        cluster.writer()
        new = write(cluster, 3, ada, "new")
        for server in cluster.servers:
            server.start()
        cluster.all_open([page for page in cluster.pages if page != asleep])
        assert not any(shows(page, new[0]) for page in cluster.pages)
        assert "1 mailboxes" in cluster.servers[0].manage("themis_new_epoch")
        wait_until(lambda: all(shows(page, new[0]) for page in cluster.pages[1:]))
        cluster.crowd.take_out(asleep)
        cluster.judge()
        # Nothing of it was new to them.
        assert not {t for page in cluster.pages for _pk, t in page.rung} & {*new}


class TestWriters:
    @pytest.mark.thorough
    def test_commits_in_reverse_order(self, start_cluster: StartCluster) -> None:
        cluster, people = start(start_cluster, THEMIS_REALTIME_CHECK_INTERVAL=NEVER)
        slow, fast = cluster.writer(), cluster.writer()
        for number in range(4):
            title = f"slow {number}"
            late = slow.start("cross", title=title, users=people, seconds=0.1)
            fast.cross(f"fast {number}", people[::-1], 0.02)
            late()
        cluster.judge(staleness=BUSY * 0.2)

    def test_bulk_writers_in_opposite_orders_never_deadlock(
        self, start_cluster: StartCluster
    ) -> None:
        cluster, people = start(start_cluster, people=6)
        writers = [cluster.writer() for _number in range(4)]
        seconds = 20 if THOROUGH else 3
        end = time.monotonic() + seconds

        def write_on(number: int) -> None:
            order = people if number % 2 else people[::-1]
            round_ = 0
            while time.monotonic() < end:
                round_ += 1
                title = f"{number}-{round_}"
                if round_ % 2:
                    writers[number].cross(f"{title} cross", order, 0.005)
                else:
                    writers[number].write("users", f"{title} users", *order)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write_on, range(4)))
        run = cluster.judge(staleness=BUSY * 1)
        assert not run.history.only("failed")

    def test_a_host_that_keeps_a_mailbox_locked_delays_nobody_else(
        self, start_cluster: StartCluster
    ) -> None:
        cluster, (ada, *others) = start(start_cluster, people=5)
        with psycopg.connect(cluster.database_url) as host:
            host.execute(
                "SELECT * FROM themis_mailbox WHERE user_id ="
                " (SELECT id FROM auth_user WHERE username = %s) FOR UPDATE",
                [ada],
            )
            for verb in ("users", "atomic"):
                cluster.writers[0].write(verb, f"to all {verb}", ada, *others)
                for name in others:
                    title = f"to all {verb}"
                    wait_until(partial(all_show, cluster, name, title), within=BUSY)
            host.rollback()
        run = cluster.judge()
        assert max(write.seconds for write in run.history.writes) < 1 + BUSY * 0.3


class TestPages:
    @pytest.mark.thorough
    def test_what_is_written_while_they_join_and_read(
        self, start_cluster: StartCluster
    ) -> None:
        """Between joining and reading, and between reading and sending."""
        cluster = start_cluster(
            failpoints={"pause": {"joined": 0.2, "read": 0.2}},
            THEMIS_REALTIME_CHECK_INTERVAL=NEVER,
        )
        writer = cluster.writer()
        people = cluster.people(3)
        done = writer.stream(cluster.seed, people, seconds=3)
        for _tab in range(4):
            cluster.open_all(people)
        done()
        cluster.judge()

    @pytest.mark.thorough
    def test_reading_all_races_notifying_and_another_tab(
        self, start_cluster: StartCluster
    ) -> None:
        cluster, people = start(start_cluster)
        done = cluster.writers[0].stream(cluster.seed, people, seconds=3)
        answers: list[Future[int]] = []
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for page in cluster.pages:
                _epoch, revision = page.position
                verb = cluster.chance.choice(["read", "dismiss"])
                body = {"up_to": revision}
                answers.append(cluster.crowd.post(page, verb, body))
            time.sleep(0.1)
        done()
        # A person may be asked to try again.
        assert {answer.result(30) for answer in answers} <= {200, 503}
        cluster.judge()

    @pytest.mark.thorough
    def test_deletions_forgotten_while_a_page_slept(
        self, start_cluster: StartCluster
    ) -> None:
        cluster, (ada,) = start(start_cluster, people=1)
        titles = write(cluster, 4, ada, "shown")
        wait_until(lambda: all_show(cluster, ada, titles[-1]))
        asleep = cluster.pages[0]
        cluster.crowd.put_away(asleep)
        wait_until(lambda: asleep.state == "stopped")
        for title in titles[:3]:
            cluster.writers[0].write("delete", title, ada)
        with psycopg.connect(cluster.database_url) as connection:
            connection.execute(
                "UPDATE themis_tombstone SET created_at ="
                " created_at - interval '8 days'"
            )
        assert "3 tombstones" in cluster.servers[0].manage("cleanup_notifications")
        cluster.crowd.take_out(asleep)
        cluster.judge()
        assert asleep.applied[-1].kind == "snapshot"


class TestSQLite:
    @pytest.mark.thorough
    def test_locked_by_another_process(self, start_cluster: StartCluster) -> None:
        cluster, people = start(
            start_cluster, database="sqlite", redis=False, servers=1
        )
        path = cluster.database_url.removeprefix("sqlite:///")
        done = cluster.writers[0].stream(cluster.seed, people, seconds=5)
        time.sleep(1)
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE themis_mailbox SET unread = unread")
            time.sleep(2.5)
            other.rollback()
        done()
        assert disconnects(cluster) == 0
        cluster.judge()
