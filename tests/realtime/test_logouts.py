"""What ends a session, and the sockets that end with it."""

import asyncio
import threading
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connections, transaction
from django.db.models.signals import post_save
from django.http import HttpRequest
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone
from pytest_django import Settings

from realtime import broadcasting, logouts, sessions, watch
from realtime.endings import REMEMBERED_SECONDS
from realtime.feeds import Feed
from realtime.groups import EVERY_HUB, group_of
from realtime.hub import Hub
from realtime.sessions import Login, digest_of, find_ended
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
from themis.conf import settings as themis_settings
from themis.models import UserNotification
from themis.notifications import anotify_user

pytestmark = pytest.mark.usefixtures("hubs", "unchecked", "pushing")


@pytest.fixture
def pushing(settings: Settings) -> None:
    settings.THEMIS_BROADCASTER = "realtime.broadcasting.ChannelsBroadcaster"


@pytest.fixture
def ada(transactional_db: None) -> User:
    return User.objects.create_user("ada", password="one")


@pytest.fixture
def grace(transactional_db: None) -> User:
    return User.objects.create_user("grace", password="one")


def codes(*pages: Connection) -> list[int | None]:
    return [page.wire.close_code for page in pages]


async def open_all(stack: AsyncExitStack, *pages: Connection) -> None:
    for page in pages:
        await stack.enter_async_context(page)
        await page.frames(1)


async def look() -> None:
    """The check that comes once per interval."""
    await check(the_hub(), the_hub().feeds.values())


async def heard(*pages: Connection) -> None:
    """Whatever the hub has been sent until now, it and its watch have taken in."""
    hub = the_hub()
    done = asyncio.Event()
    hub.loop.call_soon_threadsafe(done.set)
    await done.wait()
    await await_until(lambda: not hub.endings.news.is_set())
    await hub.read(int)
    for page in pages:
        count = len(page.wire.texts)
        page.say({"type": "ping"})
        await page.frames(count + 1)


def request_of(browser: Browser, user: Any) -> HttpRequest:
    """A request of the browser, as views get it."""
    request = HttpRequest()
    request.COOKIES = {"sessionid": browser.key}
    request.session = browser.session
    request.user = user
    return request


class TestLogout:
    @pytest.mark.parametrize("engine", ENGINES)
    async def test_it_closes_the_tabs_of_that_session_and_no_others(
        self, ada: User, grace: User, settings: Settings, engine: str
    ) -> None:
        use_engine(settings, engine)
        here, there, other = await browse(ada), await browse(ada), await browse(grace)
        if engine == "signed_cookies":
            # Whose sessions are equal if they say the same.
            there.cookies["sessionid"] = await sync_to_async(_resign)(there)
        tabs = here.tab(), here.tab()
        stay = there.tab(), other.tab()
        async with AsyncExitStack() as stack:
            await open_all(stack, *tabs, *stay)
            await sync_to_async(here.logout)()
            await await_until(lambda: codes(*tabs) == [4401, 4401])
            sent = [list(tab.wire.texts) for tab in tabs]
            await anotify_user(ada, "after")
            assert (await stay[0].frames(2))[1]["items"][0]["title"] == "after"
            assert [tab.wire.texts for tab in tabs] == sent
            await heard(*stay)
            assert codes(*stay) == [None, None]

    async def test_who_comes_back_before_django_has_deleted_the_session_is_refused(
        self, ada: User
    ) -> None:
        browser = await browse(ada)
        async with browser.tab() as tab:
            await tab.frames(1)
            request = await sync_to_async(request_of)(browser, ada)
            await sync_to_async(user_logged_out.send)(User, request=request, user=ada)
            await await_until(lambda: codes(tab) == [4401])
        assert await refused(browser.tab())
        # That memory is only for the moment; afterwards the database is right.
        hub = the_hub()
        hub.endings._now = lambda: hub.loop.time() + REMEMBERED_SECONDS + 1
        hub.endings.forget()
        async with browser.tab() as tab:
            await tab.frames(1)

    async def test_it_counts_when_it_is_committed(self, ada: User) -> None:
        browser = await browse(ada)
        kept = browser.key
        ended, commit = threading.Event(), threading.Event()

        def leave(*, rolled_back: bool) -> None:
            request = request_of(browser, ada)
            with transaction.atomic():
                user_logged_out.send(User, request=request, user=ada)
                Session.objects.filter(pk=kept).delete()
                ended.set()
                assert commit.wait(10)
                transaction.set_rollback(rolled_back)

        async with browser.tab() as tab:
            await tab.frames(1)
            for rolled_back in (True, False):
                ended.clear()
                commit.clear()
                leaving = asyncio.create_task(
                    sync_to_async(leave)(rolled_back=rolled_back)
                )
                await await_until(ended.is_set)
                await heard(tab)
                assert codes(tab) == [None]
                commit.set()
                await leaving
                if rolled_back:
                    await heard(tab)
                    assert codes(tab) == [None]
            await await_until(lambda: codes(tab) == [4401])

    @pytest.mark.parametrize("user", [None, AnonymousUser()])
    async def test_of_what_has_no_session_nothing_is_told(
        self, ada: User, user: object
    ) -> None:
        async with Connection(ada) as page:
            await page.frames(1)
            for request in (None, HttpRequest()):
                await sync_to_async(user_logged_out.send)(
                    User, request=request, user=user
                )
            await heard(page)
            assert codes(page) == [None]

    async def test_somebody_else_who_signs_in_ends_the_session_that_was_there(
        self, ada: User, grace: User
    ) -> None:
        browser = await browse(ada)

        def sign_in(user: User) -> None:
            login(request_of(browser, ada), user)

        async with browser.tab() as tab:
            await tab.frames(1)
            await sync_to_async(sign_in)(ada)
            await heard(tab)
            assert codes(tab) == [None]
            await sync_to_async(sign_in)(grace)
            await await_until(lambda: codes(tab) == [4401])

    async def test_the_broker_gets_no_key(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[tuple[str, dict[str, Any]]] = []

        class Recorder:
            def send(self, group: str, message: dict[str, Any]) -> None:
                sent.append((group, message))

        monkeypatch.setattr(broadcasting, "get_publisher", Recorder)
        monkeypatch.setattr(broadcasting, "is_local", lambda _layer: False)
        browser = await browse(ada)
        sent.clear()
        key = browser.key
        await sync_to_async(browser.logout)()
        ada.first_name = "Augusta"
        await ada.asave()
        user = str(ada.pk)
        assert sent == [
            (EVERY_HUB, {"type": "themis.logout", "v": 1, "session": digest_of(key)}),
            (group_of(user), {"type": "themis.account", "v": 1, "user": user}),
        ]
        assert key not in str(sent)

    async def test_what_pushes_nothing_tells_nothing(
        self, ada: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise AssertionError

        monkeypatch.setattr(broadcasting, "get_channel_layer", fail)
        settings.THEMIS_BROADCASTER = None
        browser = await browse(ada)
        await sync_to_async(browser.logout)()
        await ada.asave()

    async def test_what_another_version_says_is_ignored(self, ada: User) -> None:
        browser = await browse(ada)
        async with browser.tab() as tab:
            await tab.frames(1)
            digest = digest_of(browser.key)
            await User.objects.aupdate(is_active=False)
            for message in (
                {"type": "themis.logout", "v": 2, "session": digest},
                {"type": "themis.logout", "v": 1, "session": None},
                {"type": "themis.logout", "v": 1, "digest": digest},
                {"type": "themis.account", "v": 2, "user": str(ada.pk)},
                {"type": "themis.account", "v": 1},
            ):
                the_hub().receive(message)
            await heard(tab)
            assert codes(tab) == [None]


class TestSavedUser:
    @pytest.mark.parametrize(
        "change",
        [
            lambda user: user.set_password("another"),
            lambda user: setattr(user, "is_active", False),
        ],
        ids=["password", "deactivation"],
    )
    async def test_what_ends_the_sessions_closes_their_tabs(
        self, ada: User, grace: User, change: Callable[[User], object]
    ) -> None:
        tabs = (await browse(ada)).tab(), (await browse(ada)).tab()
        other = (await browse(grace)).tab()
        async with AsyncExitStack() as stack:
            await open_all(stack, *tabs, other)
            change(ada)
            await ada.asave()
            await await_until(lambda: codes(*tabs) == [4401, 4401])
            assert codes(other) == [None]

    async def test_anything_else_keeps_them(self, ada: User) -> None:
        tab = (await browse(ada)).tab()
        async with tab:
            await tab.frames(1)
            ada.first_name = "Augusta"
            await ada.asave()
            await heard(tab)
            assert codes(tab) == [None]

    async def test_it_counts_when_it_is_committed(self, ada: User) -> None:
        tab = (await browse(ada)).tab()

        def think_better_of_it() -> None:
            with transaction.atomic():
                User.objects.get(pk=ada.pk).save()
                User.objects.update(password="another")
                transaction.set_rollback(True)

        async with tab:
            await tab.frames(1)
            await sync_to_async(think_better_of_it)()
            assert the_hub().endings._doubted == {}

    async def test_a_login_is_no_reason_to_look(self, ada: User) -> None:
        tab = (await browse(ada)).tab()
        async with tab:
            await tab.frames(1)
            await browse(ada)
            await ada.asave(update_fields=["last_login"])
            await User.objects.acreate_user("new")
            await heard(tab)
            assert the_hub().endings._doubted == {}
            await ada.asave(update_fields=["last_login", "email"])
            await await_until(lambda: str(ada.pk) in the_hub().endings._doubted)

    async def test_what_was_read_before_the_change_is_looked_at_again(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The handshake has read the session; then the password changes."""
        tab = (await browse(ada)).tab()
        read, go_on = threading.Event(), threading.Event()
        authenticate = sessions.authenticate

        def authenticate_slowly(key: str) -> Login | None:
            found = authenticate(key)
            read.set()
            assert go_on.wait(10)
            return found

        monkeypatch.setattr(sessions, "authenticate", authenticate_slowly)
        tab.start()
        await await_until(read.is_set)
        ada.set_password("another")
        await ada.asave()
        await heard()
        go_on.set()
        await await_until(lambda: codes(tab) == [4401])
        await tab.leave()

    async def test_a_logout_during_the_handshake_refuses_it(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        browser = await browse(ada)
        authenticate = sessions.authenticate

        def authenticate_late(key: str) -> Login | None:
            found = authenticate(key)
            the_hub().loop.call_soon_threadsafe(
                the_hub().receive,
                {"type": "themis.logout", "v": 1, "session": digest_of(key)},
            )
            return found

        monkeypatch.setattr(sessions, "authenticate", authenticate_late)
        assert await refused(browser.tab())

    async def test_the_session_that_changes_its_password_goes_on_with_its_new_cookie(
        self, ada: User
    ) -> None:
        browser = await browse(ada)

        def change() -> str:
            request = request_of(browser, ada)
            ada.set_password("another")
            ada.save()
            update_session_auth_hash(request, ada)
            request.session.save()
            return str(request.session.session_key)

        async with browser.tab() as tab:
            await tab.frames(1)
            key = await sync_to_async(change)()
            await await_until(lambda: codes(tab) == [4401])
        assert await refused(browser.tab())
        async with Connection(cookie=f"sessionid={key}") as page:
            await page.frames(1)
            await look()
            assert codes(page) == [None]

    async def test_a_proxy_is_the_user_too(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with isolate_apps("django.contrib.auth"):

            class Member(User):
                class Meta:
                    proxy = True
                    app_label = "auth"

        models = [User, Member]
        monkeypatch.setattr(apps, "get_models", lambda: models)
        apps.get_app_config("themis_realtime").ready()
        try:
            async with (await browse(ada)).tab() as tab:
                await tab.frames(1)
                member = await Member.objects.aget(pk=ada.pk)
                member.is_active = False
                await member.asave()
                await await_until(lambda: codes(tab) == [4401])
        finally:
            post_save.disconnect(sender=Member, dispatch_uid="themis.save")

    def test_other_models_are_saved_as_fast_as_ever(self) -> None:
        called = [
            receiver
            for model in (Group, Session, UserNotification)
            for receiver in post_save._live_receivers(model)[0]
        ]
        assert logouts.announce_save in post_save._live_receivers(User)[0]
        assert logouts.announce_save not in called


class EachTime(ModelBackend):
    """A backend with a way of its own to find users, which fails for one of them."""

    broken: Any = None

    def get_user(self, user_id: Any) -> Any:
        if user_id == self.broken:
            raise LookupError
        return super().get_user(user_id)


class Stubborn(BaseBackend):
    """A backend that lets everybody in, whoever they are."""

    def get_user(self, user_id: Any) -> Any:
        return User.objects.filter(pk=user_id).first()


class BrokenCache:
    """A cache whose server is away."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        pass

    def get_many(self, keys: object) -> None:
        raise ConnectionError

    get = get_many

    def close(self) -> None:
        pass


class TestCheck:
    @pytest.mark.parametrize(
        "end",
        [
            lambda key, _user: Session.objects.filter(pk=key).delete(),
            lambda key, _user: Session.objects.filter(pk=key).update(
                expire_date=timezone.now()
            ),
            lambda key, _user: Session.objects.filter(pk=key).update(session_data=""),
        ],
        ids=["deleted", "expired", "torn"],
    )
    async def test_it_finds_a_session_that_has_ended_unheard(
        self, ada: User, end: Callable[[str, User], object]
    ) -> None:
        here, there = await browse(ada), await browse(ada)
        tabs = here.tab(), there.tab()
        async with AsyncExitStack() as stack:
            await open_all(stack, *tabs)
            await look()
            assert codes(*tabs) == [None, None]
            await sync_to_async(end)(here.key, ada)
            await look()
            assert codes(*tabs) == [4401, None]

    @pytest.mark.parametrize(
        "change", [{"is_active": False}, {"password": "x"}], ids=lambda c: next(iter(c))
    )
    async def test_it_finds_an_account_that_has_changed_unheard(
        self, ada: User, grace: User, change: dict[str, Any]
    ) -> None:
        tabs = (await browse(ada)).tab(), (await browse(grace)).tab()
        async with AsyncExitStack() as stack:
            await open_all(stack, *tabs)
            await User.objects.filter(pk=ada.pk).aupdate(**change)
            await look()
            assert codes(*tabs) == [4401, None]

    @pytest.mark.parametrize("engine", ENGINES[1:4])
    async def test_whatever_keeps_the_sessions(
        self, ada: User, settings: Settings, engine: str
    ) -> None:
        use_engine(settings, engine)
        here, there = await browse(ada), await browse(ada)
        tabs = here.tab(), there.tab()
        async with AsyncExitStack() as stack:
            await open_all(stack, *tabs)
            await look()
            assert codes(*tabs) == [None, None]
            await sync_to_async(here.session.delete)()
            await look()
            assert codes(*tabs) == [4401, None]

    @pytest.mark.parametrize(
        "change", [{"is_active": False}, {"password": "x"}], ids=lambda c: next(iter(c))
    )
    async def test_the_account_counts_too_where_the_cookie_is_the_session(
        self, ada: User, settings: Settings, change: dict[str, Any]
    ) -> None:
        use_engine(settings, "signed_cookies")
        async with (await browse(ada)).tab() as tab:
            await tab.frames(1)
            await look()
            assert codes(tab) == [None]
            await User.objects.aupdate(**change)
            await look()
            assert codes(tab) == [4401]

    async def test_it_costs_two_statements_for_all(
        self, ada: User, grace: User
    ) -> None:
        logins = [
            Login(user.pk, (await browse(user)).key)
            for user in (ada, grace)
            for _session in range(10)
        ]

        def count() -> int:
            with CaptureQueriesContext(connections["default"]) as queries:
                assert find_ended(logins) == set()
            return len(queries)

        assert await sync_to_async(count)() == 2

    @pytest.mark.parametrize("together", [1, 1_000])
    async def test_what_can_not_be_read_goes_on(
        self,
        ada: User,
        grace: User,
        monkeypatch: pytest.MonkeyPatch,
        caplog: Any,
        together: int,
    ) -> None:
        """And the others are looked at all the same, in the same chunk or a later."""
        monkeypatch.setattr(watch, "LOGINS_PER_READ", together)
        tabs = (await browse(ada)).tab(), (await browse(grace)).tab()
        find = sessions.find_ended

        def find_some(logins: list[Login]) -> set[Login]:
            if any(login.user == ada.pk for login in logins):
                raise DatabaseError
            return find(logins)

        async with AsyncExitStack() as stack:
            await open_all(stack, *tabs)
            await sync_to_async(Session.objects.all().delete)()
            monkeypatch.setattr(sessions, "find_ended", find_some)
            await look()
            assert codes(*tabs) == [None, 4401]
            assert "could not be read" in caplog.text
            monkeypatch.setattr(sessions, "find_ended", find)
            await look()
            assert codes(*tabs) == [4401, 4401]

    async def test_a_cache_that_is_away_signs_nobody_out(
        self, ada: User, settings: Settings
    ) -> None:
        """The engine itself would say that there is no session."""
        use_engine(settings, "cache")
        async with (await browse(ada)).tab() as tab:
            await tab.frames(1)
            settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}
            await look()
            assert codes(tab) == [None]

    async def test_backends_with_a_way_of_their_own_are_asked(
        self, ada: User, grace: User, settings: Settings, monkeypatch: Any
    ) -> None:
        settings.AUTHENTICATION_BACKENDS = [f"{__name__}.EachTime"]
        tabs = (await browse(ada)).tab(), (await browse(grace)).tab()
        async with AsyncExitStack() as stack:
            await open_all(stack, *tabs)
            await User.objects.aupdate(is_active=False)
            monkeypatch.setattr(EachTime, "broken", ada.pk)
            await look()
            assert codes(*tabs) == [None, 4401]
            monkeypatch.setattr(EachTime, "broken", None)
            await look()
            assert codes(*tabs) == [4401, 4401]

    @pytest.mark.parametrize(
        "backend",
        [
            f"{__name__}.Stubborn",
            "django.contrib.auth.backends.AllowAllUsersModelBackend",
        ],
    )
    async def test_a_backend_may_let_inactive_people_in(
        self, ada: User, settings: Settings, backend: str
    ) -> None:
        settings.AUTHENTICATION_BACKENDS = [backend]
        async with (await browse(ada)).tab() as tab:
            await tab.frames(1)
            ada.is_active = False
            await ada.asave()
            await look()
            assert codes(tab) == [None]

    async def test_a_store_that_loads_in_its_own_way_is_asked(
        self, ada: User, settings: Settings
    ) -> None:
        settings.SESSION_ENGINE = __name__
        here, there = await browse(ada), await browse(ada)
        tabs = here.tab(), there.tab()
        async with AsyncExitStack() as stack:
            await open_all(stack, *tabs)
            SessionStore.revoked.add(here.key)
            await look()
            assert codes(*tabs) == [4401, None]

    async def test_one_session_that_can_not_be_loaded_costs_one_load(
        self,
        ada: User,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        settings.SESSION_ENGINE = __name__
        browsers = [await browse(ada) for _browser in range(3)]
        logins = [Login(ada.pk, browser.key) for browser in browsers]
        SessionStore.revoked.add(browsers[2].key)
        load, loaded = SessionStore.load, []

        def fail_once(store: SessionStore) -> dict[str, Any]:
            loaded.append(store.session_key)
            if store.session_key == browsers[1].key:
                raise ValueError
            return load(store)

        monkeypatch.setattr(SessionStore, "load", fail_once)
        assert await sync_to_async(find_ended)(logins) == {logins[2]}
        assert len(loaded) == 3
        assert "could not be read" in caplog.text

    async def test_accounts_with_and_without_a_session_end_together(
        self, ada: User, grace: User
    ) -> None:
        here = await browse(ada)
        logins = [Login(ada.pk, here.key), Login(grace.pk)]
        await sync_to_async(here.session.delete)()
        await User.objects.filter(pk=grace.pk).aupdate(is_active=False)
        assert await sync_to_async(find_ended)(logins) == set(logins)

    async def test_it_comes_by_itself(self, ada: User, settings: Settings) -> None:
        settings.THEMIS_REALTIME_SESSION_CHECK_INTERVAL = 0.2
        async with (await browse(ada)).tab() as tab:
            await tab.frames(1)
            await User.objects.aupdate(is_active=False)
            await await_until(lambda: codes(tab) == [4401])

    @pytest.mark.parametrize("value", [0, -1, None, "60", float("nan")])
    def test_an_interval_that_is_none_is_the_default(
        self, settings: Settings, value: object
    ) -> None:
        settings.THEMIS_REALTIME_SESSION_CHECK_INTERVAL = value
        assert themis_settings.session_check_interval == 60


class SessionStore(db.SessionStore):
    """Sessions of a host that knows more of them than the table does."""

    revoked: set[str] = set()

    def load(self) -> dict[str, Any]:
        return {} if self.session_key in self.revoked else super().load()


def _resign(browser: Browser) -> str:
    session = browser.session
    session["theme"] = "dark"
    session.save()
    return str(session.session_key)


async def test_news_without_an_end_do_not_put_off_the_check_of_all(
    idle_hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a host that saves its users all the time."""
    settings.THEMIS_REALTIME_SESSION_CHECK_INTERVAL = 0.2
    monkeypatch.setattr(watch, "PAUSE_SECONDS", 0.01)
    of_all = asyncio.Event()

    async def doubt_again(hub: Hub, feeds: Collection[Feed]) -> None:
        hub.endings.doubt("1")
        if not isinstance(feeds, list):
            of_all.set()

    monkeypatch.setattr(watch, "check", doubt_again)
    idle_hub.endings.doubt("1")
    idle_hub.start(watch.watch)
    async with asyncio.timeout(5):
        await of_all.wait()
