"""
Who may use a WebSocket whose consumer is a class. These mixins stand before
WebSocketConsumer, or what is made from it, among the bases of the class.
"""

from django.core.exceptions import ImproperlyConfigured

# A code to close a WebSocket with, which resembles that of HTTP.
UNAUTHORIZED = 4401


class LoginRequiredMixin:
    """
    Lets only users who are logged in connect, and send messages.

    Each message is checked anew, so that the WebSocket of one who has logged out is
    closed. With `checks_messages` False only the handshake is checked.
    """

    checks_messages = True

    def has_permission(self):
        is_due = self.checks_messages or self.event == "connect"
        return super().has_permission() and (not is_due or self.is_allowed())

    def handle_no_permission(self):
        if self.user.is_authenticated:
            super().handle_no_permission()
        else:
            self.close(UNAUTHORIZED, "Log in")

    def is_allowed(self):
        """Return whether `user` may do it."""
        return self.user.is_authenticated


class PermissionRequiredMixin(LoginRequiredMixin):
    """
    Lets only users connect, and send messages, who have all permissions in
    `permission_required`: a name such as "chat.add_line", or a list of names.
    """

    permission_required = None

    def is_allowed(self):
        names = self.permission_required
        if names is None:
            raise ImproperlyConfigured(
                f"{type(self).__name__} needs the attribute permission_required."
            )
        return self.user.has_perms([names] if isinstance(names, str) else names)
