"""Who opens a socket, by the session that the cookie names; and when that ends."""

import asyncio
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connections
from django.db.backends.utils import CursorWrapper
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from realtime import reconciler, sessions
from realtime.routing import websocket_urlpatterns
from realtime.sessions import Login
from realtime.watch import check
from tests.realtime.browsers import (
    ENGINES,
    Browser,
    browse,
    refused,
    the_hub,
    use_engine,
)
from tests.realtime.harness import Connection
from tests.waiting import await_until
from themis.notifications import anotify_user

pytestmark = pytest.mark.usefixtures("hubs", "unchecked")

TABLES = ["django_session", "auth_user", "themis_mailbox", "themis_usernotification"]


@pytest.fixture
def ada(transactional_db: None) -> User:
    return User.objects.create_user("ada", password="one")


@pytest.fixture
def grace(transactional_db: None) -> User:
    return User.objects.create_user("grace", password="one")


class TestHandshake:
    @pytest.mark.parametrize("engine", ENGINES)
    async def test_the_cookie_alone_says_who_it_is(
        self, ada: User, settings: Settings, engine: str
    ) -> None:
        use_engine(settings, engine)
        await anotify_user(ada, "hers")
        async with (await browse(ada)).tab() as page:
            (frame,) = await page.frames(1)
        assert [item["title"] for item in frame["items"]] == ["hers"]

    async def test_among_others_and_in_any_of_several_headers(self, ada: User) -> None:
        browser = await browse(ada)
        page = Connection(cookie="theme=dark; other=1")
        page.scope["headers"].append((b"cookie", browser.cookie.encode()))
        async with page:
            await page.frames(1)

    async def test_under_the_name_that_the_site_has_given_it(
        self, ada: User, settings: Settings
    ) -> None:
        browser = await browse(ada)
        settings.SESSION_COOKIE_NAME = "login"
        assert await refused(browser.tab())
        async with Connection(cookie=f"login={browser.key}") as page:
            await page.frames(1)

    @pytest.mark.parametrize(
        "cookie",
        [
            "",
            "sessionid=",
            "sessionid=short",
            "sessionid=unknownunknownunknownunknown1234",
            'sessionid="\\000\\000\\000\\000\\000\\000\\000\\000"',
            "sessionid=" + "x" * 4000,
            "sessionid=\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7",
            "sessionid=../../etc/passwd",
            "csrftoken=unknownunknownunknownunknown1234",
        ],
    )
    @pytest.mark.parametrize("engine", ENGINES)
    async def test_what_is_no_session_is_nobody(
        self, ada: User, settings: Settings, engine: str, cookie: str
    ) -> None:
        use_engine(settings, engine)
        assert await refused(Connection(cookie=cookie))

    @pytest.mark.parametrize(
        "end",
        [
            Browser.logout,
            lambda _: Session.objects.all().delete(),
            lambda _: Session.objects.update(expire_date=timezone.now()),
            lambda _: Session.objects.update(session_data="nonsense"),
            lambda _: User.objects.update(is_active=False),
            lambda _: User.objects.update(password="another"),
            lambda _: User.objects.all().delete(),
        ],
        ids=["logout", "gone", "expired", "torn", "inactive", "password", "deleted"],
    )
    async def test_a_session_that_has_ended_is_nobodys(
        self, ada: User, end: Callable[[Browser], object]
    ) -> None:
        browser = await browse(ada)
        cookie = browser.cookie
        await sync_to_async(end)(browser)
        assert await refused(Connection(cookie=cookie))

    async def test_nor_is_one_of_a_backend_that_the_site_has_given_up(
        self, ada: User, settings: Settings
    ) -> None:
        browser = await browse(ada)
        settings.AUTHENTICATION_BACKENDS = [
            "django.contrib.auth.backends.AllowAllUsersModelBackend"
        ]
        assert await refused(browser.tab())

    async def test_nor_is_an_anonymous_one(self, ada: User) -> None:
        browser = await browse(ada)

        def forget() -> None:
            session = browser.session
            del session[SESSION_KEY]
            session.save()

        await sync_to_async(forget)()
        assert await refused(browser.tab())

    async def test_a_session_of_the_previous_secret_key_opens_and_stays_as_it_is(
        self, ada: User, settings: Settings
    ) -> None:
        browser = await browse(ada)
        # Both the data and the hash in it are signed.
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "a new one"
        before = [row async for row in Session.objects.values()]
        async with browser.tab() as page:
            await page.frames(1)
            await check(the_hub(), the_hub().feeds.values())
            assert page.wire.close_code is None
        assert [row async for row in Session.objects.values()] == before
        settings.SECRET_KEY_FALLBACKS = []
        assert await refused(browser.tab())

    async def test_a_refusal_writes_nothing_either(self, ada: User) -> None:
        """Django's own look would flush the session of another password."""
        browser = await browse(ada)
        await User.objects.aupdate(password="another")
        before = [row async for row in Session.objects.values()]
        assert await refused(browser.tab())
        assert [row async for row in Session.objects.values()] == before != []

    async def test_it_takes_a_statement_for_the_session_and_one_for_the_user(
        self, ada: User
    ) -> None:
        browser = await browse(ada)

        def count() -> list[str]:
            with CaptureQueriesContext(connections["default"]) as queries:
                assert sessions.authenticate(browser.key) is not None
            return [query["sql"] for query in queries]

        statements = await sync_to_async(count)()
        assert ["django_session" in sql for sql in statements] == [True, False]
        assert "auth_user" in statements[1]

    async def test_all_of_it_takes_a_statement_for_each_thing_that_is_read(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        browser = await browse(ada)
        async with browser.tab() as page:
            (frame,) = await page.frames(1)
        read: list[str] = []
        execute = CursorWrapper.execute

        def record(cursor: Any, sql: str, params: Any = None) -> Any:
            read.append(next(table for table in TABLES if table in sql))
            return execute(cursor, sql, params)

        position = {"since": frame["revision"], "epoch": frame["epoch"]}
        with monkeypatch.context() as patch:
            patch.setattr(CursorWrapper, "execute", record)
            async with browser.tab() as page:
                await page.frames(1)
            assert read == TABLES
            read.clear()
            async with browser.tab(query=position) as page:
                await page.frames(1)
            # Nothing is new; the last asks whether the answer is whole.
            assert read == [*TABLES[:3], "themis_mailbox"]

    async def test_a_slow_request_does_not_hold_it_up(self, ada: User) -> None:
        """The thread that all synchronous code of a process shares is busy."""
        browser = await browse(ada)
        begun, go_on = threading.Event(), threading.Event()

        def query_slowly() -> None:
            begun.set()
            assert go_on.wait(10)

        slow = asyncio.create_task(sync_to_async(query_slowly)())
        await await_until(begun.is_set)
        async with browser.tab() as page:
            await page.frames(1)
            assert not slow.done()
            go_on.set()
            await slow

    async def test_what_could_not_be_read_is_no_refusal(
        self, ada: User, settings: Settings
    ) -> None:
        """The server closes with 1011, and the page comes back with backoff."""
        use_engine(settings, "cache")
        browser = await browse(ada)
        settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}
        page = browser.tab()
        page.start()
        assert page.task is not None
        with pytest.raises(ConnectionError):
            await page.task
        assert page.wire.close_code is None

    async def test_the_key_is_in_no_repr(self, ada: User) -> None:
        assert "secret" not in repr(Login(1, "secret"))


class TestMiddlewareOfTheHost:
    async def connect(self, application: Any, *cookies: str) -> WebsocketCommunicator:
        headers = [(b"host", b"testserver"), (b"origin", b"http://testserver")]
        headers += [(b"cookie", cookie.encode()) for cookie in cookies]
        communicator = WebsocketCommunicator(
            application, "/ws/notifications/", headers=headers
        )
        connected, _subprotocol = await communicator.connect()
        assert connected
        return communicator

    async def test_auth_middleware_stack_goes_on_working(self, ada: User) -> None:
        browser = await browse(ada)
        application = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
        page = await self.connect(application, browser.cookie)
        assert (await page.receive_json_from())["type"] == "snapshot"
        # Its session is watched like any other.
        await sync_to_async(browser.logout)()
        closed = await page.receive_output(5)
        assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
        await page.wait()
        nobody = await self.connect(application)
        assert (await nobody.receive_output(5))["code"] == 4401
        await nobody.wait()

    async def test_the_user_that_it_has_found_is_respected(
        self, ada: User, grace: User
    ) -> None:
        """By a token, say; the cookie of somebody else is none of its business."""
        browser = await browse(grace)
        page = Connection(ada)
        page.scope["headers"].append((b"cookie", browser.cookie.encode()))
        async with page:
            await page.frames(1)
            assert list(the_hub().feeds) == [str(ada.pk)]

    async def test_a_session_of_somebody_else_beside_it_is_not_watched(
        self, ada: User, grace: User
    ) -> None:
        browser = await browse(grace)
        store = await sync_to_async(lambda: browser.session)()
        async with Connection(ada, session=store) as page:
            await page.frames(1)
            await sync_to_async(browser.logout)()
            await check(the_hub(), the_hub().feeds.values())
            assert page.wire.close_code is None

    @pytest.mark.parametrize("session", [None, {}, SimpleNamespace(session_key="x")])
    async def test_what_is_no_session_of_the_site_is_not_watched(
        self, ada: User, session: object
    ) -> None:
        async with Connection(ada, session=session) as page:
            await page.frames(1)
            await check(the_hub(), the_hub().feeds.values())
            assert page.wire.close_code is None

    async def test_without_a_session_the_account_is_watched(
        self, ada: User, grace: User
    ) -> None:
        async with Connection(ada) as page, Connection(grace) as other:
            await page.frames(1)
            await other.frames(1)
            await User.objects.filter(pk=ada.pk).aupdate(is_active=False)
            await check(the_hub(), the_hub().feeds.values())
            assert (page.wire.close_code, other.wire.close_code) == (4401, None)

    async def test_an_account_may_hold_the_text_of_its_key(self, ada: User) -> None:
        """As one made from a token does: the mailbox is the same, to the checks too."""
        async with Connection(User(pk=f"0{ada.pk}")) as page:
            await page.frames(1)
            assert [feed.user for feed in the_hub().feeds.values()] == [ada.pk]
            await reconciler.check(the_hub())
            await check(the_hub(), the_hub().feeds.values())
            assert page.wire.close_code is None

    async def test_a_middleware_that_lets_inactive_people_in_means_it(
        self, ada: User
    ) -> None:
        ada.is_active = False
        await ada.asave()
        async with Connection(ada) as page:
            await page.frames(1)
            await check(the_hub(), the_hub().feeds.values())
            assert page.wire.close_code is None

    async def test_a_site_without_the_table_of_sessions_knows_nobody_by_a_cookie(
        self, ada: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        browser = await browse(ada)
        settings.INSTALLED_APPS = [
            name for name in settings.INSTALLED_APPS if "sessions" not in name
        ]
        monkeypatch.delitem(sys.modules, "django.contrib.sessions.models")
        assert await refused(browser.tab())
        async with Connection(ada) as page:
            await page.frames(1)
            await check(the_hub(), the_hub().feeds.values())
            assert page.wire.close_code is None


class BrokenCache:
    """A cache whose server is away."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        pass

    def get_many(self, keys: object) -> None:
        raise ConnectionError

    get = get_many

    def close(self) -> None:
        pass
