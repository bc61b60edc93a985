"""
Whose a WebSocket is.

The handshake brings the cookies of the site. So its message can be made a request
that has the session and the user which a view would see. Later messages bring what
user_state() has made of them:

    {"state": {"user": 7, "session": "c5x2..."}}
"""

from functools import wraps
from io import BytesIO

from asgiref.sync import async_to_sync, iscoroutinefunction

from django.apps import apps
from django.channels.exceptions import InvalidMessage
from django.channels.views import encode_value
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.module_loading import import_string


def websocket_request(func):
    """
    Call the decorated consumer of django.websocket.connect with `request` as well,
    the HttpRequest of the handshake with its `session` and `user`.

    Both come by the middleware of the site, so by its SESSION_ENGINE and its
    AUTHENTICATION_BACKENDS. Without a session the user is an AnonymousUser.
    """
    call = async_to_sync(func) if iscoroutinefunction(func) else func

    @wraps(func)
    def consumer(**message):
        return call(request=handshake_request(message), **message)

    return consumer


def handshake_request(message):
    """
    Return the HttpRequest, with session and user, of a message of
    django.websocket.connect. Raise InvalidMessage for any other message.
    """
    if "META" not in message:
        raise InvalidMessage(
            "Only the message of django.websocket.connect describes a request. Let "
            "its consumer send {'state': user_state(request)}, and later ones use "
            "load_user(state)."
        )
    absent = {"method": "GET", "scheme": "http", "script_name": ""}
    request = HttpRequest.channel_decode(absent | message, BytesIO())
    load_session(request)
    return request


def load_session(request):
    """Give `request`, by its cookies, the session and the user that views see."""
    if not apps.is_installed("django.contrib.auth"):
        raise ImproperlyConfigured(
            "The users of WebSockets need 'django.contrib.auth' in INSTALLED_APPS."
        )
    from django.contrib.auth.middleware import AuthenticationMiddleware
    from django.contrib.sessions.middleware import SessionMiddleware

    run_middleware(SessionMiddleware, request)
    # A new key, as after a change of SECRET_KEY, could not be told to the client,
    # who would be logged out.
    request.session.cycle_key = lambda: None
    run_middleware(AuthenticationMiddleware, request)


def run_middleware(base, request):
    """
    Have the class in MIDDLEWARE that is `base` or a subclass of it, else `base`,
    process a request.
    """
    for middleware in map(import_string, settings.MIDDLEWARE):
        if isinstance(middleware, type) and issubclass(middleware, base):
            base = middleware
            break
    # There is no response for it to see.
    base(lambda request: None).process_request(request)


def user_state(request):
    """
    Return what to keep of the user of a request: a dict for the `state` of a
    WebSocket, empty if nobody is logged in.

    "user" is the primary key, as text if it is no number, and "session" the key of
    the session, for load_user().
    """
    if not request.user.is_authenticated:
        return {}
    return {
        "user": encode_value(request.user.pk),
        "session": request.session.session_key,
    }


def load_user(state):
    """
    Return the user that user_state() has kept in `state`, as a view would see them
    now: an AnonymousUser after they have logged out, after their session has
    expired or their password has changed, and if they may not log in any more.
    """
    request = HttpRequest()
    if session_key := state.get("session"):
        request.COOKIES[settings.SESSION_COOKIE_NAME] = session_key
    load_session(request)
    return request.user
