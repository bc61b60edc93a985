"""The URLs of the plaza: its apps, the doors for its users, and the admin."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("", include("visits.urls")),
    path("chat/", include("chat.urls")),
    path("signups/", include("signups.urls")),
    path("status/", include("status.urls")),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("", include("plaza.sockets")),
    # With DEBUG, so that the site has its style under every server.
    *staticfiles_urlpatterns(),
]
