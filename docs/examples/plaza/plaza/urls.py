"""The URLs of the plaza: its apps, and the admin."""

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("", include("visits.urls")),
    path("admin/", admin.site.urls),
    # With DEBUG, so that the site has its style under every server.
    *staticfiles_urlpatterns(),
]
