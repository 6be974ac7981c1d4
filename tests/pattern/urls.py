"""The view of the pattern, at an address."""

from django.http import HttpResponse
from django.urls import path

from tests.pattern.views import approve_request

urlpatterns = [
    path("requests/", lambda _request: HttpResponse("requests"), name="request-list"),
    path("requests/<int:pk>/approve/", approve_request),
]
