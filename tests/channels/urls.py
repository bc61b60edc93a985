from django.urls import path

from . import views

urlpatterns = [
    path("hello/", views.hello),
    path("hello-async/", views.hello_async),
    path("template/", views.template),
    path("fails/", views.fails),
    path("atomic/", views.in_atomic_block),
    path("echo/", views.echo),
    path("read-some/", views.read_some),
    path("stream/", views.stream),
    path("file/", views.file),
]
