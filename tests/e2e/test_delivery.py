"""What is notified appears on every open page of the person, once and in order."""

from collections.abc import Callable

from playwright.sync_api import APIResponse, Page, Route, expect

from tests.conftest import PageErrors, SignIn
from tests.e2e.bells import Bell
from tests.e2e.conftest import Visit, on_both_sites, on_embedded_site
from tests.e2e.sites import Site
from tests.processes import RedisServer
from tests.waiting import wait_until


@on_both_sites
def test_1_a_notification_rings_without_a_request(site: Site, visit: Visit) -> None:
    ada, grace = site.person("ada"), site.person("grace")
    hers, other = visit(ada), visit(grace)
    hers.expect_count(0)
    hers.requests.clear()

    site.notify(ada, "Build failed")

    hers.expect_count(1)
    hers.expect_rung("Build failed")
    assert hers.requests == []
    hers.open()
    hers.expect_titles("Build failed")
    other.expect_count(0)
    assert other.rung == []


@on_both_sites
def test_1_who_is_given_a_task_hears_of_it(site: Site, sign_in: SignIn) -> None:
    ada = sign_in(site.servers[0], "ada")
    grace = Bell(sign_in(site.servers[-1], "grace"))
    grace.expect_transport("open")

    ada.goto("/tasks/")
    ada.get_by_label("title").fill("Read the minutes")
    ada.get_by_role("button", name="Create task").click()
    _assign(ada, "Read the minutes", "grace")

    expect(grace.badge).to_be_visible()
    grace.open()
    expect(grace.rows.first).to_contain_text("Task assigned: Read the minutes")
    expect(Bell(ada).badge).to_be_hidden()


def _assign(page: Page, title: str, username: str) -> None:
    task = page.locator("main li", has_text=title)
    task.get_by_label("Assignee").select_option(label=username)
    task.get_by_role("button", name="Assign").click()


@on_embedded_site
def test_1_who_asked_hears_of_the_approval(site: Site, visit: Visit) -> None:
    asking, approving = site.person("asking"), site.person("approving")
    hers = visit(asking, "/requests/")
    hers.page.get_by_label("title").fill("A quieter fan")
    hers.page.get_by_role("button", name="Send request").click()
    hers.page.wait_for_url("**/requests/")
    hers.expect_transport("open")

    approver = visit(approving, "/requests/").page
    approver.get_by_role("button", name="Approve A quieter fan").click()

    hers.expect_count(1)
    hers.open()
    hers.expect_titles("Request approved")


@on_both_sites
def test_1_a_shell_rings_the_bell(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    bell = visit(ada)
    site.servers[0].manage(
        "shell",
        "-v0",
        "-c",
        "from django.contrib.auth.models import User\n"
        "from themis.notifications import notify_user\n"
        f"notify_user(User.objects.get(pk={ada.pk}), 'Hello from the shell')",
    )
    bell.expect_count(1)
    bell.expect_rung("Hello from the shell")


@on_both_sites
def test_every_window_of_a_person_rings_once(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    bells = [visit(ada, at=server) for server in site.servers]
    bells.append(Bell(bells[0].page.context.new_page()))
    bells[-1].page.goto("/tasks/")
    bells[-1].expect_transport("open")

    site.notify(ada, "one", "two")

    for bell in bells:
        bell.expect_count(2)
        bell.expect_rung("one", "two")


def test_2_the_badge_shows_99_plus_and_the_name_the_true_count(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, *[f"Number {i}" for i in range(99)])
    bell = visit(ada)
    bell.expect_count(99)

    site.notify(ada, "One more")
    expect(bell.badge).to_have_text("99+")
    expect(bell.button).to_have_accessible_name("Notifications, 100 unread")

    bell.open()
    bell.read_all.click()
    bell.expect_count(0)


@on_both_sites
def test_4_a_burst_of_200_ends_in_the_right_state(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    bell = visit(ada, script=_LONG_TASKS)
    bell.open()
    titles = [f"Number {i}" for i in range(200)]
    site.notify(ada, *titles)

    expect(bell.button).to_have_accessible_name("Notifications, 200 unread")
    bell.expect_titles(*reversed(titles[-20:]))
    # One at a time they all ring; what arrived as a snapshot rings as far as it goes.
    rung = bell.rung
    assert rung == [title for title in titles if title in set(rung)]
    assert rung[-20:] == titles[-20:]
    # Tens of them on a quiet machine; a render per notification would be many more.
    assert bell.page.evaluate("longest") < 1000


_LONG_TASKS = """
globalThis.longest = 0;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
}).observe({ type: "longtask" });
"""


def test_5_what_was_missed_arrives_once_when_the_server_is_back(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("ERR_CONNECTION_REFUSED")
    ada = site.person("ada")
    site.notify(ada, "before")
    server = site.servers[1]
    bell = visit(ada, at=server)
    bell.open()
    server.kill()
    wait_until(lambda: bell.transport != "open")

    missed = [f"missed {i}" for i in range(5)]
    site.notify(ada, *missed)
    server.start()

    bell.expect_transport("open")
    bell.expect_count(6)
    bell.expect_titles(*reversed(missed), "before")
    bell.expect_rung(*missed)
    site.notify(ada, "after")
    bell.expect_rung(*missed, "after")
    bell.expect_titles("after", *reversed(missed), "before")


def test_6_an_overtaken_answer_is_ignored(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    bell = visit(ada)
    bell.open()
    bell.expect_titles("two", "one")

    answers: list[tuple[Route, APIResponse]] = []

    def delay(route: Route) -> None:
        answers.append((route, route.fetch()))

    bell.page.route("**/api/notifications/read", delay)
    bell.mark_read("one")
    bell.wait_for(lambda: answers)
    bell.expect_count(1)
    site.shell.run(
        "UserNotification.objects.filter(user=pk).update(read_at=None)", pk=ada.pk
    )
    site.notify(ada, "before the answer")
    bell.expect_rung("before the answer")
    # The answer is still to come: what the person did is shown as if it were agreed.
    bell.expect_count(2)
    route, response = answers[0]
    route.fulfill(response=response)
    bell.expect_count(3)
    # The pointer is in the list: what is new waits to be asked for.
    bell.pill.click()
    expect(bell.unread_rows).to_have_count(3)


@on_both_sites
def test_what_is_rolled_back_is_never_seen(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    bell = visit(ada)
    site.shell.run(
        """
with transaction.atomic():
    notify_user(User.objects.get(pk=pk), "never happened")
    transaction.set_rollback(True)
notify_user(User.objects.get(pk=pk), "happened")
""",
        pk=ada.pk,
    )
    bell.expect_rung("happened")
    bell.expect_count(1)
    bell.open()
    bell.expect_titles("happened")


def test_another_persons_session_sees_nothing(site: Site, visit: Visit) -> None:
    ada, grace = site.person("ada"), site.person("grace")
    bell = visit(grace)
    frames: list[str] = []
    bell.page.on("websocket", lambda socket: socket.on("framereceived", _keep(frames)))
    bell.page.reload()
    bell.expect_transport("open")

    site.notify(ada, "for ada alone")
    site.notify(grace, "for grace")

    bell.expect_rung("for grace")
    bell.open()
    bell.expect_titles("for grace")
    assert not [frame for frame in frames if "for ada alone" in frame]
    bell.page.goto("/notifications/")
    expect(bell.page.locator("main")).to_contain_text("for grace")
    expect(bell.page.locator("main")).not_to_contain_text("for ada alone")
    hers = site.rows(ada)[0]["id"]
    bell.page.goto(f"/notifications/{hers}/open/")
    expect(bell.page.locator("main")).to_contain_text("no longer there")
    assert site.unread(ada) == ["for ada alone"]


def _keep(frames: list[str]) -> Callable[[object], None]:
    return lambda payload: frames.append(str(payload))


@on_embedded_site
def test_what_expires_leaves_the_page_and_the_count(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    bell = visit(ada)
    bell.open()
    site.notify(ada, "stays")
    # Time enough for the check that brings it here, on a busy machine, too.
    site.shell.run(
        """
soon = timezone.now() + timedelta(seconds=8)
notify_user(User.objects.get(pk=pk), "goes", expires_at=soon)
""",
        pk=ada.pk,
    )
    bell.expect_titles("goes", "stays")
    bell.expect_count(2)
    bell.expect_titles("stays")
    bell.expect_count(1)


def test_a_dead_broker_delays_by_no_more_than_the_check(
    make_site: Callable[..., Site], redis_server: RedisServer, visit: Visit
) -> None:
    site = make_site(redis_url=redis_server.url, THEMIS_REALTIME_CHECK_INTERVAL="2")
    ada = site.person("ada")
    bell = visit(ada, at=site)
    # channels_redis logs that its connection was lost.
    site.servers[0].expect_failures()
    redis_server.kill()
    site.notify(ada, "without a broker")
    bell.expect_rung("without a broker")
    redis_server.start()
    site.notify(ada, "with a new one")
    bell.expect_rung("without a broker", "with a new one")
    bell.expect_count(2)
