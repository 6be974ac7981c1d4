"""The pages of the demo."""

from __future__ import annotations

from django.urls import path

from demo.views import events, home, reports, requests, tasks, teams

urlpatterns = [
    path("", home.home, name="home"),
    path("sign-in/<str:username>/", home.sign_in_as, name="sign-in-as"),
    path("tasks/", tasks.tasks, name="task-list"),
    path("tasks/check-overdue/", tasks.check_overdue, name="task-check-overdue"),
    path("tasks/<int:pk>/", tasks.task, name="task-detail"),
    path("tasks/<int:pk>/assign/", tasks.assign_task, name="task-assign"),
    path("tasks/<int:pk>/delete/", tasks.delete_task, name="task-delete"),
    path("requests/", requests.requests, name="request-list"),
    path("requests/<int:pk>/", requests.request_detail, name="request-detail"),
    path(
        "requests/<int:pk>/approve/", requests.approve_request, name="request-approve"
    ),
    path("reports/", reports.reports, name="report-list"),
    path("reports/<int:pk>/", reports.report, name="report-detail"),
    path("reports/<int:pk>/download/", reports.download_report, name="report-download"),
    path("events/", events.events, name="event-list"),
    path("events/<int:pk>/", events.event, name="event-detail"),
    path("events/<int:pk>/attend/", events.attend, name="event-attend"),
    path("events/<int:pk>/remind/", events.remind_of_event, name="event-remind"),
    path("events/<int:pk>/cancel/", events.cancel_event, name="event-cancel"),
    path("teams/", teams.teams, name="team-list"),
    path("teams/everybody/", teams.announce_to_everybody, name="announce-to-everybody"),
    path("teams/<int:pk>/", teams.team, name="team-detail"),
    path("teams/<int:pk>/join/", teams.join_team, name="team-join"),
    path("teams/<int:pk>/announce/", teams.announce_to_team, name="team-announce"),
    path("announcements/<int:pk>/", teams.announcement, name="announcement-detail"),
    path(
        "announcements/<int:pk>/take-back/",
        teams.take_back,
        name="announcement-take-back",
    ),
]
