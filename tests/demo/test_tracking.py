"""Which fields of an instance have changed."""

import pytest
from django.contrib.auth.models import User

from demo.models import Task

pytestmark = pytest.mark.django_db


@pytest.fixture
def task() -> Task:
    return Task.objects.create(title="Deploy v2")


def test_nothing_has_changed_after_loading_or_saving(task: Task) -> None:
    assert not task.tracker.has_changed("title")
    assert not Task.objects.get().tracker.has_changed("title")


def test_everything_is_new_before_the_first_save() -> None:
    assert Task(title="Deploy v2").tracker.has_changed("title")


def test_a_relation_changes_by_object_or_key(task: Task) -> None:
    user = User.objects.create_user("ada")
    task.assignee = user
    assert task.tracker.has_changed("assignee")
    task.assignee = None
    assert not task.tracker.has_changed("assignee")
    task.assignee_id = user.pk
    assert task.tracker.has_changed("assignee")


def test_saving_some_fields_leaves_the_others_changed(task: Task) -> None:
    task.title, task.status = "Deploy v3", Task.Status.DONE
    task.save(update_fields=["title"])
    assert not task.tracker.has_changed("title")
    assert task.tracker.has_changed("status")


def test_a_refresh_forgets_the_change(task: Task) -> None:
    task.title = "Deploy v3"
    task.refresh_from_db()
    assert not task.tracker.has_changed("title")


@pytest.mark.usefixtures("task")
def test_a_deferred_field_has_not_changed() -> None:
    deferred = Task.objects.only("title").get()
    assert not deferred.tracker.has_changed("status")
    assert deferred.get_deferred_fields()
