"""The real parts that other tests lean on do what they say."""

import time

import psycopg
import pytest
import redis
from django.contrib.auth import get_user_model
from django.db import connection
from playwright.sync_api import Browser

from tests.conftest import MakeDatabase, Serve, SignIn
from tests.processes import PostgresServer, RedisServer
from tests.waiting import await_until, wait_until


@pytest.mark.once
class TestRedisServer:
    def test_it_answers_and_can_be_wiped(self, redis_server: RedisServer) -> None:
        with redis_server.client() as client:
            client.set("key", "value")
            redis_server.wipe()
            assert client.get("key") is None

    def test_a_paused_one_does_not_answer_until_resumed(
        self, redis_server: RedisServer
    ) -> None:
        redis_server.pause()
        with redis_server.client() as client, pytest.raises(redis.TimeoutError):
            client.ping()
        redis_server.resume()
        wait_until(redis_server.is_ready)

    def test_a_killed_one_comes_back_on_its_port(
        self, redis_server: RedisServer
    ) -> None:
        url = redis_server.url
        redis_server.kill()
        assert not redis_server.running
        assert not redis_server.is_ready()
        redis_server.start()
        assert redis_server.url == url
        assert redis_server.is_ready()


@pytest.mark.once
class TestPostgresServer:
    def test_it_makes_databases(self, postgres_server: PostgresServer) -> None:
        url = postgres_server.create_database("smoke")
        with psycopg.connect(url) as client:
            assert client.execute("SELECT current_database()").fetchone() == ("smoke",)
        postgres_server.drop_database("smoke")

    def test_a_paused_one_answers_nobody(self, postgres_server: PostgresServer) -> None:
        with psycopg.connect(postgres_server.url()) as client:
            postgres_server.pause()
            assert not postgres_server.is_ready()
            postgres_server.resume()
            assert client.execute("SELECT 1").fetchone() == (1,)

    def test_a_killed_one_comes_back_with_what_was_committed(
        self, postgres_server: PostgresServer
    ) -> None:
        with psycopg.connect(postgres_server.url()) as client:
            client.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
            client.commit()
            postgres_server.kill()
            with pytest.raises(psycopg.OperationalError):
                client.execute("SELECT 1")
        postgres_server.start()
        with psycopg.connect(postgres_server.url()) as client:
            client.execute("DROP TABLE kept")

    def test_it_restarts(self, postgres_server: PostgresServer) -> None:
        first = postgres_server.pid
        postgres_server.restart()
        assert postgres_server.pid != first


@pytest.mark.django_db
def test_the_run_is_on_the_database_it_was_asked_for(
    request: pytest.FixtureRequest,
) -> None:
    vendors = {"sqlite": "sqlite", "postgres": "postgresql"}
    assert connection.vendor == vendors[request.config.option.database]


async def test_an_async_test_runs_beside_the_browser_tests() -> None:
    started = time.monotonic()
    assert await await_until(lambda: time.monotonic() > started)


@pytest.mark.once
def test_the_browser_runs_modules(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content("<script type=module>document.title = 'module'</script>")
    wait_until(lambda: page.title() == "module")
    page.close()


@pytest.mark.once
def test_a_served_project_answers_and_ends_cleanly(serve: Serve) -> None:
    server = serve()
    assert "ada" in server.manage("shell", "-v0", "-c", _PRINT_USERS)
    assert server.stop() == 0


def test_a_served_project_can_share_the_database_of_the_test(
    test_database_url: str, serve: Serve
) -> None:
    get_user_model().objects.create_user("visitor")
    server = serve(test_database_url)
    assert "visitor" in server.manage("shell", "-v0", "-c", _PRINT_USERS)
    assert get_user_model().objects.filter(username="ada").exists()


@pytest.mark.once
def test_a_server_runs_on_postgres_and_redis(
    make_database: MakeDatabase, redis_server: RedisServer, serve: Serve
) -> None:
    url = make_database("postgres")
    first, second = (serve(url, redis_url=redis_server.url) for _ in range(2))
    first.manage("shell", "-v0", "-c", _MAKE_USER)
    assert "visitor" in second.manage("shell", "-v0", "-c", _PRINT_USERS)


@pytest.mark.once
def test_a_person_signs_in_with_a_browser(serve: Serve, sign_in: SignIn) -> None:
    page = sign_in(serve(), "grace")
    assert "/accounts/login/" not in page.url


_MAKE_USER = """
from django.contrib.auth import get_user_model
get_user_model().objects.create_user("visitor")
"""
_PRINT_USERS = """
from django.contrib.auth import get_user_model
print(*get_user_model().objects.values_list("username", flat=True))
"""
