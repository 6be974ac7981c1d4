"""Reports: ordered in a view, made and notified of in tasks, here without a worker."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from demo.models import Report, Request, Task
from demo.tasks import make_report
from tests.demo.conftest import signed_in, unread_of
from themis.models import UserNotification

pytestmark = pytest.mark.urls("server.urls")


@pytest.mark.django_db(transaction=True)
def test_ordering_one_makes_it_and_notifies(ada: User) -> None:
    client = signed_in(ada)
    page = client.post("/reports/", {"report_type": "monthly"}, follow=True)
    assert "Report ordered." in page.content.decode()
    report = Report.objects.get()
    assert (report.owner, report.report_type) == (ada, "monthly")

    notification = UserNotification.objects.get()
    assert notification.user == ada
    assert notification.title == "Report ready"
    assert notification.message == "Your monthly report is ready to download."
    assert notification.level == "success"
    assert notification.url == f"/reports/{report.pk}/"
    assert notification.source_id == str(report.pk)

    shown = client.get(notification.url).content.decode()
    assert "tasks created: 0" in shown
    assert unread_of(ada) == 0


@pytest.mark.django_db
def test_the_task_waits_for_the_commit(
    ada: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    report = Report.objects.create(owner=ada)
    with django_capture_on_commit_callbacks() as callbacks:
        make_report.delay_on_commit(report.pk)
        report.refresh_from_db()
        assert report.made_at is None
    assert len(callbacks) == 1
    callbacks[0]()
    report.refresh_from_db()
    assert report.made_at is not None


@pytest.mark.django_db(transaction=True)
def test_a_rollback_enqueues_nothing(ada: User) -> None:
    with transaction.atomic():
        report = Report.objects.create(owner=ada)
        make_report.delay_on_commit(report.pk)
        transaction.set_rollback(True)
    assert not Report.objects.exists()
    assert not UserNotification.objects.exists()
    assert not connection.in_atomic_block


@pytest.mark.django_db
def test_it_counts_what_happened_in_its_days(ada: User) -> None:
    for title, days in [("new", 1), ("older", 20), ("too old", 40)]:
        created = timezone.now() - timedelta(days=days)
        task = Task.objects.create(title=title, assignee=ada if days == 1 else None)
        wish = Request.objects.create(title=title, requester=ada, status="approved")
        for model, pk in [(Task, task.pk), (Request, wish.pk)]:
            model._default_manager.filter(pk=pk).update(created_at=created)
    texts = {}
    for kind in ("weekly", "monthly"):
        report = Report.objects.create(owner=ada, report_type=kind)
        report.make()
        texts[kind] = report.content.splitlines()[1:]
    assert texts["weekly"] == [
        "tasks created: 1",
        "of these nobody's: 0",
        "requests made: 1",
        "of these approved: 1",
    ]
    assert texts["monthly"] == [
        "tasks created: 2",
        "of these nobody's: 1",
        "requests made: 2",
        "of these approved: 2",
    ]


@pytest.mark.django_db
def test_it_downloads_as_a_file_once_it_is_made(ada: User) -> None:
    report = Report.objects.create(owner=ada)
    client = signed_in(ada)
    assert "waiting for a worker" in client.get("/reports/").content.decode()
    assert client.get(f"/reports/{report.pk}/download/").status_code == 404
    report.make()
    response = client.get(f"/reports/{report.pk}/download/")
    assert response.content.decode() == report.content
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Content-Disposition"].startswith("attachment; filename=")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["", "download/"])
def test_it_is_its_owners_alone(ada: User, eve: User, path: str) -> None:
    report = Report.objects.create(owner=ada)
    report.make()
    client = signed_in(eve)
    assert client.get(f"/reports/{report.pk}/{path}").status_code == 404
    assert "No reports yet." in client.get("/reports/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_an_unknown_type_is_refused(ada: User, settings: Settings) -> None:
    page = signed_in(ada).post("/reports/", {"report_type": "daily"})
    assert page.status_code == 200
    assert "daily is not one of the available choices" in page.content.decode()
    assert not Report.objects.exists()
