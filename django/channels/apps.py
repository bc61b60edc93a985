from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChannelsConfig(AppConfig):
    """The tables of the database backend. Channels themselves need no app."""

    name = "django.channels"
    label = "django_channels"
    verbose_name = _("Channels")
