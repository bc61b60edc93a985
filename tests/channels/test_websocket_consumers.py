from datetime import date
from unittest import mock

from django.channels import Group, InvalidMessage, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.messages import encode_bytes
from django.channels.permissions import LoginRequiredMixin, PermissionRequiredMixin
from django.channels.registry import registry
from django.channels.routing import path, route_websockets
from django.channels.websockets import (
    BinaryWebSocketConsumer,
    JSONWebSocketConsumer,
    TextWebSocketConsumer,
    WebSocketConsumer,
)
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import Http404
from django.test import SimpleTestCase
from django.utils.decorators import method_decorator

from .test_interface import InterfaceTestCase
from .test_routing import WorkerMixin
from .test_websocket_users import UsersTestCase


class Echo(WebSocketConsumer):
    prefix = ""

    def receive(self, value):
        self.send(self.prefix + value if self.prefix else value)


class RegistrationTests(WorkerMixin, SimpleTestCase):
    def test_registers_for_all_websockets(self):
        func = Echo.register()
        for event in ["connect", "receive", "disconnect"]:
            self.assertIs(registry.get(f"django.websocket.{event}").func, func)
        self.assertEqual(
            str(registry.get("django.websocket.receive")),
            "channels.test_websocket_consumers.Echo",
        )
        self.assertIs(func.consumer_class, Echo)

    def test_registers_under_a_name(self):
        Echo.register("echo", backend="other", ordered=False)
        self.assertIs(registry.get("echo.receive", "other").ordered, False)
        self.assertIsNone(registry.get("django.websocket.receive"))

    def test_order_is_that_of_the_class(self):
        class Quick(Echo):
            ordered = False

        Echo.register("slow")
        Quick.register("quick")
        self.assertIs(registry.get("slow.receive").ordered, True)
        self.assertIs(registry.get("quick.receive").ordered, False)

    def test_attributes(self):
        Echo.register(prefix="> ")
        self.assertEqual(self.receive(content="hello"), [{"content": "> hello"}])
        self.assertEqual(Echo.prefix, "")

    def test_attributes_that_the_class_does_not_have(self):
        for name in ["prefixes", "receive"]:
            msg = f"Echo.as_consumer() received {name!r}, which is no attribute"
            with self.assertRaisesMessage(TypeError, msg):
                Echo.as_consumer(**{name: ""})

    def test_coroutine_functions(self):
        class Later(Echo):
            async def receive(self, value):
                self.fail("Not called.")

        msg = "Later.receive() must be a plain function, not a coroutine function."
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            Later.register()
        self.assertIsNone(registry.get("django.websocket.receive"))

    def test_is_made_of_the_class_only(self):
        with self.assertRaisesMessage(AttributeError, "available only on the class"):
            Echo().as_consumer()

    def test_other_channels(self):
        consumer("tests.echo")(Echo.as_consumer())
        msg = "Echo needs channels that end in .connect, .receive and .disconnect."
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            message = {"send_channel": self.channel, "path": "/"}
            registry.get("tests.echo")("tests.echo", message)

    def test_decorators_of_dispatch(self):
        @method_decorator(transaction.non_atomic_requests, name="dispatch")
        class Plain(Echo):
            pass

        func = Plain.as_consumer()
        self.assertEqual(func._non_atomic_requests, {"default"})


class MessageTests(WorkerMixin, SimpleTestCase):
    def register(self, base=WebSocketConsumer, **attributes):
        """Register a class with these methods."""
        type("Tested", (base,), attributes).register()

    def test_defaults_accept_and_do_nothing(self):
        WebSocketConsumer.register()
        self.assertEqual(self.connect(), [])
        self.assertEqual(self.receive(content="hello"), [])
        self.assertEqual(self.disconnect(), [])
        self.assertFalse(self.failed)

    def test_methods(self):
        self.register(
            connect=lambda view: self.calls.append(("connect", view.path)),
            receive=lambda view, value: self.calls.append(("receive", value)),
            disconnect=lambda view, code: self.calls.append(("disconnect", code)),
        )
        self.connect("/chat/")
        self.receive(content="text")
        self.receive(bytes=encode_bytes(b"\0\xff"))
        self.disconnect(code=4001)
        self.assertEqual(
            self.calls,
            [
                ("connect", "/chat/"),
                ("receive", "text"),
                ("receive", b"\0\xff"),
                ("disconnect", 4001),
            ],
        )

    def test_an_instance_for_each_message(self):
        self.register(receive=lambda view, value: self.calls.append(view))
        self.receive(content="")
        self.receive(content="")
        self.assertIsNot(*self.calls)

    def test_values_of_the_url(self):
        Tested = type(
            "Tested",
            (WebSocketConsumer,),
            {"connect": lambda view: self.calls.append((view.args, view.kwargs))},
        )
        Tested.register("chat")
        route_websockets([path("chat/<slug:room>/", "chat")])
        self.connect("/chat/lobby/")
        self.assertEqual(self.calls, [([], {"room": "lobby"})])

    def test_sends_text_and_bytes(self):
        Echo.register()
        for data in [{"content": "grüß"}, {"bytes": encode_bytes(b"\0\xff")}]:
            self.assertEqual(self.receive(**data), [data])

    def test_failure(self):
        def receive(view, value):
            view.state["lost"] = True
            raise KeyError

        self.register(receive=receive)
        with self.assertLogs("django.channels.worker", "ERROR"):
            self.assertEqual(self.receive(content=""), [])
        self.assertTrue(self.failed)

    def test_state_is_saved_if_it_has_changed(self):
        def receive(view, value):
            if value:
                view.state.setdefault("words", []).append(value)

        self.register(receive=receive)
        self.assertEqual(self.receive(content="a"), [{"state": {"words": ["a"]}}])
        self.assertEqual(self.receive(content="b"), [{"state": {"words": ["a", "b"]}}])
        self.assertEqual(self.receive(content=""), [])

    def test_state_may_be_replaced(self):
        self.register(receive=lambda view, value: setattr(view, "state", {"a": 1}))
        self.assertEqual(self.receive(content=""), [{"state": {"a": 1}}])

    def test_state_that_messages_cannot_hold(self):
        self.register(receive=lambda view, value: view.state.update(day=date.today()))
        with self.assertLogs("django.channels.worker", "ERROR") as logs:
            self.receive(content="")
        self.assertIn("'state.day' is of the type date", logs.output[0])
        self.assertTrue(self.failed)

    def test_close(self):
        self.register(receive=lambda view, value: view.close(4001, "Enough"))
        self.assertEqual(
            self.receive(content=""), [{"close": 4001, "reason": "Enough"}]
        )

    def test_groups(self):
        self.register(
            connect=lambda view: view.join("chat"),
            receive=lambda view, value: view.send_group("chat", value),
            disconnect=lambda view, code: view.leave("chat"),
        )
        self.connect()
        self.assertIn(self.channel, Group("chat"))
        other = self.inbox.open()
        Group("chat").add(other)
        self.assertEqual(self.receive(content="hello"), [{"content": "hello"}])
        self.assertEqual(self.inbox.receive(other, 0), {"content": "hello"})
        self.disconnect()
        self.assertNotIn(self.channel, Group("chat"))


class HandshakeTests(WorkerMixin, SimpleTestCase):
    def register(self, connect=lambda view: None, **attributes):
        attributes["connect"] = connect
        type("Tested", (WebSocketConsumer,), attributes).register()

    def test_subprotocol(self):
        self.register(subprotocols=["v2", "v1"])
        for offered, chosen in [(["v1"], "v1"), (["v1", "other", "v2"], "v2")]:
            self.assertEqual(
                self.connect(subprotocols=offered),
                [{"accept": True, "subprotocol": chosen}],
            )
        for offered in [[], ["other"]]:
            self.assertEqual(self.connect(subprotocols=offered), [])

    def test_what_is_sent_comes_after_the_answer(self):
        self.register(lambda view: view.send("hello"), subprotocols=["v1"])
        self.assertEqual(
            self.connect(subprotocols=["v1"]),
            [{"accept": True, "subprotocol": "v1"}, {"content": "hello"}],
        )

    def test_accept(self):
        self.register(lambda view: view.accept("other"), subprotocols=["v1"])
        self.assertEqual(
            self.connect(subprotocols=["v1", "other"]),
            [{"accept": True, "subprotocol": "other"}],
        )

    def test_refuse(self):
        self.register(lambda view: view.close(), subprotocols=["v1"])
        self.assertEqual(
            self.connect(subprotocols=["v1"]), [{"close": 1000, "reason": ""}]
        )

    def test_without_permission(self):
        def connect(view):
            self.fail("Not called.")

        def handle_no_permission(view):
            view.close(4000, "No")

        allows = {"has_permission": lambda view: False}
        for more, answer in [
            ({}, {"close": 4403, "reason": "Forbidden"}),
            (
                {"handle_no_permission": handle_no_permission},
                {"close": 4000, "reason": "No"},
            ),
        ]:
            with registry.isolate():
                self.register(connect, **allows, **more)
                self.assertEqual(self.connect(), [answer])
                self.assertEqual(self.receive(content=""), [answer])

    def test_object_that_does_not_exist(self):
        class Room(WebSocketConsumer):
            def connect(self):
                raise Http404

        Room.register("chat")
        route_websockets([path("chat/<slug:room>/", "chat")])
        with self.assertLogs("django.channels.routing", "WARNING"):
            [answer] = self.connect("/chat/lobby/")
        self.assertEqual(answer, {"close": 4404, "reason": "Not found"})


class DataTests(WorkerMixin, SimpleTestCase):
    def register(self, base, **attributes):
        attributes.setdefault("receive", lambda view, value: self.calls.append(value))
        type("Tested", (base,), attributes).register()

    def test_text_alone(self):
        self.register(TextWebSocketConsumer)
        self.assertEqual(self.receive(content="text"), [])
        self.assertEqual(self.receive(bytes=""), [{"close": 1003, "reason": ""}])
        self.assertEqual(self.calls, ["text"])

    def test_bytes_alone(self):
        self.register(BinaryWebSocketConsumer)
        self.assertEqual(self.receive(bytes="AP8="), [])
        self.assertEqual(self.receive(content="text"), [{"close": 1003, "reason": ""}])
        self.assertEqual(self.calls, [b"\0\xff"])

    def test_json(self):
        self.register(JSONWebSocketConsumer)
        for text, value in [('{"a": [1, null]}', {"a": [1, None]}), ('"é"', "é")]:
            self.assertEqual(self.receive(content=text), [])
            self.assertEqual(self.calls.pop(), value)

    def test_text_that_is_not_json(self):
        self.register(JSONWebSocketConsumer)
        for text in ["", "{", "NaN", "[" * 200_000]:
            with self.subTest(text=text[:5]):
                self.assertEqual(
                    self.receive(content=text), [{"close": 1007, "reason": ""}]
                )
        self.assertEqual(self.receive(bytes=""), [{"close": 1003, "reason": ""}])
        self.assertEqual(self.calls, [])

    def test_hook_for_invalid_data(self):
        def invalid_data(view, data, code):
            view.send({"error": code, "data": data})

        self.register(JSONWebSocketConsumer, invalid_data=invalid_data)
        self.assertEqual(
            self.receive(content="{"), [{"content": '{"error": 1007, "data": "{"}'}]
        )

    def test_sending_json(self):
        value = {"day": date(2015, 6, 1)}
        self.register(JSONWebSocketConsumer, receive=lambda view, _: view.send(value))
        self.assertEqual(
            self.receive(content="0"), [{"content": '{"day": "2015-06-01"}'}]
        )
        self.assertEqual(
            JSONWebSocketConsumer.encode_message(None), {"content": "null"}
        )
        for wrong in [float("nan"), object()]:
            with self.assertRaises((ValueError, TypeError)):
                JSONWebSocketConsumer.encode_message(wrong)

    def test_error_of_receive_is_none_of_the_data(self):
        def receive(view, value):
            raise ValueError("from receive()")

        self.register(JSONWebSocketConsumer, receive=receive)
        with self.assertLogs("django.channels.worker", "ERROR") as logs:
            self.assertEqual(self.receive(content="0"), [])
        self.assertIn("from receive()", logs.output[0])


class WhoAmI(TextWebSocketConsumer):
    def receive(self, value):
        self.send(self.user.get_username())


class UserTests(UsersTestCase):
    def test_user_that_connect_looks_at(self):
        type("Tested", (WhoAmI,), {"connect": lambda self: self.user}).register()
        [answer] = self.connect(META=self.log_in())
        self.assertEqual(answer["state"]["user"], self.user.pk)
        self.assertEqual(self.receive(content=""), [{"content": "ada"}])

    def test_user_that_connect_does_not_look_at(self):
        WhoAmI.register()
        with self.assertNumQueries(0):
            self.assertEqual(self.connect(META=self.log_in_before()), [])
        self.assertEqual(self.receive(content=""), [{"content": ""}])

    def log_in_before(self):
        return {"HTTP_COOKIE": "sessionid=any"}

    def test_request(self):
        requests = []
        connect = {"connect": lambda self: requests.append(self.request)}
        type("Tested", (WhoAmI,), connect).register()
        self.connect("/chat/", META=self.log_in())
        self.assertEqual(requests[0].path, "/chat/")
        self.assertEqual(requests[0].user, self.user)

    def test_later_messages_have_no_request(self):
        self.assertRaises(InvalidMessage, lambda: self.instance("receive").request)

    def instance(self, event):
        instance = WhoAmI()
        instance.setup(f"chat.{event}", {"send_channel": self.channel, "path": "/"})
        return instance


class PermissionTests(UsersTestCase):
    FORBIDDEN = [{"close": 4403, "reason": "Forbidden"}]
    UNAUTHORIZED = [{"close": 4401, "reason": "Log in"}]

    def register(self, mixin, **attributes):
        type("Tested", (mixin, WhoAmI), attributes).register()

    def test_login_required(self):
        self.register(LoginRequiredMixin)
        self.assertEqual(self.connect(), self.UNAUTHORIZED)
        self.connect(META=self.log_in())
        self.assertEqual(self.receive(content=""), [{"content": "ada"}])

    def test_each_message_is_checked(self):
        self.register(LoginRequiredMixin)
        self.connect(META=self.log_in())
        self.client.logout()
        self.assertEqual(self.receive(content=""), self.UNAUTHORIZED)
        self.assertEqual(self.disconnect(), [])

    def test_only_the_handshake_is_checked(self):
        def receive(view, value):
            view.send("heard")

        self.register(LoginRequiredMixin, checks_messages=False, receive=receive)
        self.assertEqual(self.connect(), self.UNAUTHORIZED)
        self.connect(META=self.log_in())
        self.client.logout()
        with self.assertNumQueries(0):
            self.assertEqual(self.receive(content=""), [{"content": "heard"}])

    def test_permission_required(self):
        names = ["auth.add_user", "auth.view_user"]
        for required in [names[0], names]:
            with self.subTest(required=required), registry.isolate():
                self.user.user_permissions.clear()
                self.register(PermissionRequiredMixin, permission_required=required)
                META = self.log_in()
                self.assertEqual(self.connect()[-1:], self.UNAUTHORIZED)
                self.assertIn(self.FORBIDDEN[0], self.connect(META=META))
                codenames = [name.partition(".")[2] for name in names]
                granted = Permission.objects.filter(codename__in=codenames)
                self.user.user_permissions.add(*granted)
                [answer] = self.connect(META=META)
                self.assertEqual(answer["state"]["user"], self.user.pk)
                User.objects.get().user_permissions.clear()
                self.assertEqual(self.receive(content=""), self.FORBIDDEN)

    def test_permission_that_is_not_named(self):
        self.register(PermissionRequiredMixin)
        with self.assertLogs("django.channels.worker", "ERROR") as logs:
            self.connect(META=self.log_in())
        self.assertIn("Tested needs the attribute permission_required", logs.output[0])

    def test_bases_are_asked_as_well(self):
        with mock.patch.object(WhoAmI, "has_permission", return_value=False):
            self.register(LoginRequiredMixin)
            self.assertIn(self.FORBIDDEN[0], self.connect(META=self.log_in()))


CONSUMERS = """
from django.channels.routing import path, route_websockets
from django.channels.websockets import JSONWebSocketConsumer

class Counter(JSONWebSocketConsumer):
    subprotocols = ["counter.2"]

    def connect(self):
        self.state["sum"] = self.kwargs["start"]

    def receive(self, value):
        self.state["sum"] += value
        self.send({"sum": self.state["sum"]})

Counter.register("counter")
route_websockets([path("counter/<int:start>/", "counter")])
"""


class InterfaceTests(InterfaceTestCase):
    """A class that consumes, by the interface server and workers."""

    def start_interface(self):
        self.write("app/consumers.py", CONSUMERS)
        super().start_interface()

    def test_state_goes_from_message_to_message(self):
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        url = f"ws://127.0.0.1:{self.port}/counter/40/"
        protocols = ["counter.1", "counter.2"]
        with connect(url, subprotocols=protocols, open_timeout=PATIENCE) as client:
            self.assertEqual(client.subprotocol, "counter.2")
            for value in ["1", "1", "-2"]:
                client.send(value)
            received = [client.recv(PATIENCE) for _ in range(3)]
            self.assertEqual(received, ['{"sum": 41}', '{"sum": 42}', '{"sum": 40}'])
            client.send("no JSON")
            with self.assertRaises(ConnectionClosed) as caught:
                client.recv(PATIENCE)
            self.assertEqual(caught.exception.rcvd.code, 1007)
