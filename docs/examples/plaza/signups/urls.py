from django.channels import Channel
from django.urls import path

from . import views

app_name = "signups"

urlpatterns = [
    path("", views.home, name="home"),
    path("events/", Channel("signups.stream").as_view(), name="events"),
    path("poll/", Channel("signups.poll").as_view(timeout=25), name="poll"),
]
