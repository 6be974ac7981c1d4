"""The triggers that the demo fires, as a browser fires them."""

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from demo.models import Request, Task
from tests.demo.conftest import signed_in
from themis.models import UserNotification

pytestmark = [pytest.mark.django_db, pytest.mark.urls("server.urls")]


def assign(client: Client, task: Task, user: User | None) -> int:
    response = client.post(
        f"/tasks/{task.pk}/assign/", {"assignee": "" if user is None else user.pk}
    )
    return response.status_code


class TestAssigningATask:
    def test_a_new_task_notifies_nobody(self, ada: User) -> None:
        response = signed_in(ada).post("/tasks/", {"title": "Deploy v2"})
        assert response.status_code == 302
        task = Task.objects.get()
        assert (task.title, task.created_by, task.assignee) == ("Deploy v2", ada, None)
        assert not UserNotification.objects.exists()

    def test_the_new_assignee_is_notified(self, ada: User, grace: User) -> None:
        task = Task.objects.create(title="Deploy v2", created_by=ada)
        assert assign(signed_in(ada), task, grace) == 302

        notification = UserNotification.objects.get()
        assert notification.user == grace
        assert notification.title == "Task assigned: Deploy v2"
        assert notification.message == "You've been assigned to 'Deploy v2'"
        assert notification.level == "info"
        assert notification.url == f"/tasks/{task.pk}/"
        assert notification.source_app == "tasks"
        assert notification.source_model == "Task"
        assert notification.source_id == str(task.pk)

    def test_saving_without_a_new_assignee_notifies_nobody(self, grace: User) -> None:
        task = Task.objects.create(title="Deploy v2", assignee=grace)
        task.title = "Deploy v3"
        task.save()
        assert not UserNotification.objects.exists()

    def test_the_same_assignee_again_is_no_news(self, ada: User, grace: User) -> None:
        task = Task.objects.create(title="Deploy v2", created_by=ada, assignee=grace)
        assign(signed_in(ada), task, grace)
        assert not UserNotification.objects.exists()

    def test_taking_a_task_away_notifies_nobody(self, ada: User, grace: User) -> None:
        task = Task.objects.create(title="Deploy v2", created_by=ada, assignee=grace)
        assign(signed_in(ada), task, None)
        task.refresh_from_db()
        assert task.assignee is None
        assert not UserNotification.objects.exists()

    def test_an_unread_assignment_is_not_repeated(self, ada: User, grace: User) -> None:
        task = Task.objects.create(title="Deploy v2", created_by=ada)
        client = signed_in(ada)
        for user in (grace, None, grace):
            assign(client, task, user)
        assert UserNotification.objects.count() == 1

    def test_only_who_made_or_has_a_task_hands_it_on(
        self, ada: User, grace: User
    ) -> None:
        task = Task.objects.create(title="Deploy v2", created_by=ada)
        assert assign(signed_in(grace), task, grace) == 403
        assert not UserNotification.objects.exists()

        assign(signed_in(ada), task, grace)
        assert assign(signed_in(grace), task, ada) == 302
        assert UserNotification.objects.filter(user=ada).exists()

    def test_an_unknown_or_inactive_assignee_is_refused(
        self, ada: User, grace: User
    ) -> None:
        User.objects.filter(pk=grace.pk).update(is_active=False)
        task = Task.objects.create(title="Deploy v2", created_by=ada)
        assign(signed_in(ada), task, grace)
        task.refresh_from_db()
        assert task.assignee is None
        assert not UserNotification.objects.exists()


class TestApprovingARequest:
    def test_the_requester_is_notified(self, ada: User, grace: User) -> None:
        signed_in(ada).post("/requests/", {"title": "A desk"})
        req = Request.objects.get()
        assert (req.requester, req.status) == (ada, "pending")

        response = signed_in(grace).post(f"/requests/{req.pk}/approve/", follow=True)
        assert "Request approved." in response.content.decode()
        req.refresh_from_db()
        assert req.status == "approved"

        notification = UserNotification.objects.get()
        assert notification.user == ada
        assert notification.title == "Request approved"
        assert notification.message == "Your request 'A desk' has been approved."
        assert notification.level == "success"
        assert notification.url == f"/requests/{req.pk}/"
        assert notification.source_id == str(req.pk)

    def test_it_is_approved_once(self, ada: User, grace: User) -> None:
        req = Request.objects.create(title="A desk", requester=ada)
        client = signed_in(grace)
        for _ in range(2):
            client.post(f"/requests/{req.pk}/approve/")
        assert UserNotification.objects.count() == 1

    def test_nobody_approves_their_own(self, ada: User) -> None:
        req = Request.objects.create(title="A desk", requester=ada)
        response = signed_in(ada).post(f"/requests/{req.pk}/approve/")
        assert response.status_code == 403
        assert not UserNotification.objects.exists()

    def test_reading_the_address_approves_nothing(self, ada: User, grace: User) -> None:
        req = Request.objects.create(title="A desk", requester=ada)
        response = signed_in(grace).get(f"/requests/{req.pk}/approve/")
        assert response.status_code == 405
        req.refresh_from_db()
        assert req.status == "pending"


class TestDemoUsers:
    def test_they_are_made_once_with_debug(self, settings: Settings) -> None:
        settings.DEBUG = True
        for _ in range(2):
            call_command("demo_users", verbosity=0)
        assert set(User.objects.values_list("username", flat=True)) == {"ada", "grace"}
        assert Client().login(username="ada", password="themis-demo")

    def test_without_debug_there_are_none(self, settings: Settings) -> None:
        settings.DEBUG = False
        with pytest.raises(CommandError, match="only with DEBUG"):
            call_command("demo_users")
        assert not User.objects.exists()


class TestOneClickSignIn:
    def test_with_debug(self, settings: Settings) -> None:
        settings.DEBUG = True
        client = Client()
        response = client.post("/sign-in/grace/", {"next": "/tasks/"})
        assert (response.status_code, response["Location"]) == (302, "/tasks/")
        assert "grace" in client.get("/tasks/").content.decode()

    def test_it_leads_to_this_site_only(self, settings: Settings) -> None:
        settings.DEBUG = True
        response = Client().post("/sign-in/ada/", {"next": "https://evil.example/"})
        assert response["Location"] == "/"

    @pytest.mark.usefixtures("ada")
    def test_not_without_debug(self, settings: Settings) -> None:
        settings.DEBUG = False
        client = Client()
        assert client.post("/sign-in/ada/").status_code == 404
        assert "_auth_user_id" not in client.session

    def test_nobody_else(self, settings: Settings) -> None:
        settings.DEBUG = True
        User.objects.create_superuser("root")
        assert Client().post("/sign-in/root/").status_code == 404

    def test_not_by_a_link(self, settings: Settings) -> None:
        settings.DEBUG = True
        assert Client().get("/sign-in/ada/").status_code == 405
