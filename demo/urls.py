"""The pages of the demo."""

from __future__ import annotations

from django.urls import path

from demo import views

urlpatterns = [
    path("", views.home, name="home"),
    path("sign-in/<str:username>/", views.sign_in_as, name="sign-in-as"),
    path("tasks/", views.tasks, name="task-list"),
    path("tasks/<int:pk>/", views.task, name="task-detail"),
    path("tasks/<int:pk>/assign/", views.assign_task, name="task-assign"),
    path("requests/", views.requests, name="request-list"),
    path("requests/<int:pk>/", views.request_detail, name="request-detail"),
    path("requests/<int:pk>/approve/", views.approve_request, name="request-approve"),
]
