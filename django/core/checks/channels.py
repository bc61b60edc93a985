"""
The system checks of channels are those of django.channels.checks. Each project has
them, so that what they look at is imported when they run.
"""

from . import register


@register("channels")
def check_channels(app_configs, **kwargs):
    from django.channels import checks

    return [
        *checks.check_backends(),
        *checks.check_settings(),
        *checks.check_consumers(),
    ]


@register("channels", deploy=True)
def check_channels_in_production(app_configs, **kwargs):
    from django.channels import checks

    return checks.check_production()
