"""The interface server and clients that others wrote, browsers among them."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import django
from django.channels.backends.contract import PATIENCE

from .client_site import ClientTestCase, require_command
from .redis_servers import skip_without
from .utils import wait_until

try:
    import websockets
    from websockets.sync.client import connect
except ImportError:
    websockets = None

try:
    import websocket
except ImportError:
    websocket = None

try:
    from selenium import webdriver
except ImportError:
    webdriver = None

# Both ends may say why. Reasons are UTF-8.
BYE = (3001, "Bye: é")

MESSAGES = [
    "text",
    "",
    "Ünïcödé, 中文, \N{GRINNING FACE}",
    "long " * 50_000,
    b"\x00\x01\xfe\xff",
    b"",
    bytes(range(256)) * 1000,
]

CONVERSATION = Path(__file__).with_name("conversation.js").read_text()


def to_json(message):
    """Return a message as conversation.js takes it."""
    if isinstance(message, str):
        return message
    return {"bytes": base64.b64encode(message).decode()}


def from_json(message):
    return message if isinstance(message, str) else base64.b64decode(message["bytes"])


class WebSocketTests:
    """
    What each client has to see. Its converse() opens a WebSocket, sends messages,
    takes as many, and closes with `close`, or waits until the server closes.

    It returns a dict: whether the handshake was "opened", the "status" if that is
    known, "subprotocol" and "extensions" as the client tells them, the messages
    "received", and the pair that it was "closed" with.
    """

    compresses = True
    confirmed_code = 4001  # With which the client answers 4001.

    def converse(self, path="/", messages=(), subprotocols=(), close=BYE):
        raise NotImplementedError

    def test_echo(self):
        seen = self.converse(messages=MESSAGES)
        self.assertEqual(seen["received"], MESSAGES)

    def test_compression(self):
        seen = self.converse(messages=["long " * 50_000])
        self.assertEqual(
            "permessage-deflate" in (seen["extensions"] or ""), self.compresses
        )

    def test_subprotocol_that_the_consumer_chooses(self):
        seen = self.converse(subprotocols=["first", "second"])
        self.assertEqual(seen["subprotocol"], "second")

    def test_no_subprotocol(self):
        self.assertFalse(self.converse()["subprotocol"])

    def test_client_closes(self):
        seen = self.converse("/client-closes/", close=BYE)
        self.assertEqual(seen["closed"], BYE)
        wait_until(lambda: self.site.left("/client-closes/"))
        self.assertEqual(self.site.left("/client-closes/"), [3001])

    def test_server_closes(self):
        seen = self.converse("/server-closes/", messages=["leave"], close=None)
        self.assertEqual(seen["closed"], (4001, "Signed out: é"))
        wait_until(lambda: self.site.left("/server-closes/"))
        self.assertEqual(self.site.left("/server-closes/"), [self.confirmed_code])

    def test_refused_by_the_consumer(self):
        seen = self.converse("/refused/")
        self.assertFalse(seen["opened"])
        # Browsers do not tell.
        self.assertEqual(seen.get("status", 403), 403)


class ScriptTests(WebSocketTests):
    """Clients in JavaScript. Their run() returns what converse() resolves to."""

    def converse(self, path="/", messages=(), subprotocols=(), close=BYE):
        seen = self.run_script(
            "converse",
            {
                "url": self.site.url(path, "ws"),
                "messages": list(map(to_json, messages)),
                "subprotocols": list(subprotocols),
                "close": close,
            },
        )
        if status := re.search(r"\d{3}", seen.get("error", "")):
            seen["status"] = int(status[0])
        seen["closed"] = tuple(seen["closed"])
        return seen | {"received": list(map(from_json, seen["received"]))}


class WebsocketsTests(WebSocketTests, ClientTestCase):
    """The package websockets, of which the server has the engine, too."""

    def open(self, path="/", **options):
        url = self.site.url(path, "ws")
        return connect(url, proxy=None, open_timeout=PATIENCE, **options)

    def converse(self, path="/", messages=(), subprotocols=(), close=BYE):
        try:
            client = self.open(path, subprotocols=subprotocols or None)
        except websockets.InvalidStatus as exc:
            return {"opened": False, "status": exc.response.status_code}
        with client:
            seen = {
                "opened": True,
                "subprotocol": client.subprotocol,
                "extensions": client.response.headers.get("Sec-WebSocket-Extensions"),
                "received": [],
            }
            for message in messages:
                client.send(message)
                if close is not None:
                    seen["received"].append(client.recv(PATIENCE))
            if close is not None:
                client.close(*close)
            try:
                client.recv(PATIENCE)
            except websockets.ConnectionClosed as exc:
                seen["closed"] = exc.rcvd.code, exc.rcvd.reason
        return seen

    def test_ping(self):
        with self.open() as client:
            self.assertTrue(client.ping("beat").wait(PATIENCE))

    def test_messages_in_fragments(self):
        with self.open() as client:
            client.send(["a", "é" * 10_000, "", "z"])
            self.assertEqual(client.recv(PATIENCE), f"a{'é' * 10_000}z")


class WebsocketClientTests(WebSocketTests, ClientTestCase):
    """The package websocket-client, which knows no compression."""

    compresses = False
    confirmed_code = 1000

    @classmethod
    def setUpClass(cls):
        if websocket is None:
            skip_without("The package websocket-client")
        super().setUpClass()

    def open(self, path="/", **options):
        return websocket.create_connection(
            self.site.url(path, "ws"),
            timeout=PATIENCE,
            http_no_proxy=["*"],
            **options,
        )

    def converse(self, path="/", messages=(), subprotocols=(), close=BYE):
        try:
            client = self.open(path, subprotocols=subprotocols or None)
        except websocket.WebSocketBadStatusException as exc:
            return {"opened": False, "status": exc.status_code}
        seen = {
            "opened": True,
            "subprotocol": client.getsubprotocol(),
            "extensions": client.getheaders().get("sec-websocket-extensions"),
            "received": [],
        }
        for message in messages:
            is_text = isinstance(message, str)
            (client.send if is_text else client.send_binary)(message)
            if close is not None:
                opcode, data = client.recv_data()
                self.assertEqual(opcode, websocket.ABNF.OPCODE_TEXT if is_text else 2)
                seen["received"].append(data.decode() if is_text else data)
        if close is not None:
            client.send_close(close[0], close[1].encode())
        opcode, data = client.recv_data()
        self.assertEqual(opcode, websocket.ABNF.OPCODE_CLOSE)
        seen["closed"] = int.from_bytes(data[:2], "big"), data[2:].decode()
        client.shutdown()
        return seen

    def test_ping(self):
        client = self.open()
        self.addCleanup(client.shutdown)
        client.ping("beat")
        self.assertEqual(
            client.recv_data(control_frame=True), (websocket.ABNF.OPCODE_PONG, b"beat")
        )

    def test_ping_of_the_server(self):
        client = self.open()
        self.addCleanup(client.shutdown)
        opcode, _ = client.recv_data(control_frame=True)
        self.assertEqual(opcode, websocket.ABNF.OPCODE_PING)


# Where Node looks for packages, and in the folders above: the assembled tree is
# in build/, into which scripts/test installs ws.
TREE = Path(django.__file__).resolve().parent.parent

PINGS = """
function pings({ url }) {
    return new Promise((resolve) => {
        const socket = new WebSocket(url), seen = {};
        function note(key, data) {
            seen[key] = data.toString();
            if ("ping" in seen && "pong" in seen) {
                socket.terminate();
                resolve(seen);
            }
        }
        socket.on("open", () => socket.ping("beat"));
        socket.on("pong", (data) => note("pong", data));
        socket.on("ping", (data) => note("ping", data));
    });
}
"""

NODE = """
const WebSocket = require("ws");
const options = JSON.parse(require("fs").readFileSync(0));
%s
%s(options).then((seen) => console.log(JSON.stringify(seen)));
"""


class NodeTests(ScriptTests, ClientTestCase):
    """The package ws of Node."""

    @classmethod
    def setUpClass(cls):
        require_command("node", "-e", 'require("ws")', cwd=TREE, what="ws of Node")
        super().setUpClass()

    def run_script(self, function, options):
        printed = subprocess.run(
            ["node", "-e", NODE % (CONVERSATION + PINGS, function)],
            input=json.dumps(options).encode(),
            stdout=subprocess.PIPE,
            cwd=TREE,
            check=True,
            timeout=PATIENCE,
        )
        return json.loads(printed.stdout)

    def test_pings_of_both_sides(self):
        seen = self.run_script("pings", {"url": self.site.url(scheme="ws")})
        self.assertEqual(seen, {"pong": "beat", "ping": ""})


# Without these Chromium looks for hosts beyond the machine, or for a sandbox.
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class ChromiumTests(ScriptTests, ClientTestCase):
    """Chromium, with a page of the site."""

    FETCH = """
        const body = "x".repeat(300000);
        const upload = await fetch("/upload/", { method: "POST", body });
        const stream = await fetch("/stream/");
        return [await upload.json(), await stream.text()];
    """

    # A browser comes again when the stream has ended.
    EVENTS = """
        window.events = [];
        const source = new EventSource("/events/");
        source.onmessage = (event) => events.push([event.lastEventId, event.data]);
        source.addEventListener("end", () => source.close());
    """

    @classmethod
    def setUpClass(cls):
        driver = shutil.which("chromedriver")
        if webdriver is None or driver is None:
            skip_without("selenium, Chromium or its driver")
        super().setUpClass()
        profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        cls.addClassCleanup(profile.cleanup)
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for argument in (*ARGUMENTS, f"--user-data-dir={profile.name}"):
            options.add_argument(argument)
        cls.browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
        cls.addClassCleanup(cls.browser.quit)
        cls.browser.set_script_timeout(PATIENCE)

    def setUp(self):
        self.browser.get(self.site.url())

    def run_script(self, function, options):
        return self.browser.execute_script(
            f"{CONVERSATION} return {function}(arguments[0]);", options
        )

    def test_fetch(self):
        upload, stream = self.browser.execute_script(
            f"return (async () => {{ {self.FETCH} }})();"
        )
        self.assertEqual(upload["size"], 300_000)
        self.assertEqual(stream, "".join(f"{number};" for number in range(1000)))

    def wait_for_events(self, *events):
        """Wait until the page has these, each as [last event ID, data]."""
        wait_until(
            lambda: self.browser.execute_script("return events;") == list(events)
        )

    def test_event_source_comes_again_with_the_last_event(self):
        self.browser.execute_script(self.EVENTS)
        wait_until(lambda: self.site.listened() == ["new"])
        self.site.send_event("data: one\n\n")
        self.wait_for_events(["", "one"])
        self.site.send_event("id: seven\ndata: twö\n\n", more=False)
        wait_until(lambda: self.site.listened() == ["new", "seven"])
        self.site.send_event("data: three\n\nevent: end\ndata:\n\n", more=False)
        self.wait_for_events(["", "one"], ["seven", "twö"], ["seven", "three"])


class CurlTests(ClientTestCase):
    @classmethod
    def setUpClass(cls):
        require_command("curl", "--version", what="curl")
        super().setUpClass()
        cls.file = cls.site.directory / "upload"
        cls.file.write_bytes(os.urandom(2**20) * 5)
        content = cls.file.read_bytes()
        cls.uploaded = {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }

    def command(self, *arguments):
        # What the user has in .curlrc or has as a proxy is left out.
        options = ("--silent", "--show-error", "--noproxy", "*")
        return ["curl", "--disable", *options, *arguments]

    def curl(self, *arguments):
        """Return what curl prints on the two streams."""
        done = subprocess.run(
            self.command("--max-time", str(PATIENCE), *arguments),
            capture_output=True,
            check=True,
        )
        return done.stdout.decode(), done.stderr.decode()

    def get_items(self, *options):
        """Get three pages. Return the contents, each with its new connections."""
        urls = [self.site.url(f"/item/{number}/") for number in (1, 2, 3)]
        printed, _ = self.curl(*options, "--write-out", "%{num_connects}|", *urls)
        return printed.rstrip("|").split("|")

    def upload(self, *options):
        """Return what the site says of the uploaded file, and what curl tells."""
        url = self.site.url("/upload/")
        content, told = self.curl(
            "--verbose", *options, "--data-binary", f"@{self.file}", url
        )
        return json.loads(content), told

    def test_keep_alive(self):
        self.assertEqual(self.get_items(), ["<1>1", "<2>0", "<3>0"])

    def test_http_1_0(self):
        self.assertEqual(self.get_items("--http1.0"), ["<1>1", "<2>1", "<3>1"])

    def test_keep_alive_of_http_1_0(self):
        items = self.get_items("--http1.0", "--header", "Connection: keep-alive")
        self.assertEqual(items, ["<1>1", "<2>0", "<3>0"])

    def test_stream_to_http_1_0(self):
        content, _ = self.curl("--http1.0", self.site.url("/stream/"))
        self.assertEqual(content, "".join(f"{number};" for number in range(1000)))

    def test_head(self):
        head, _ = self.curl("--head", self.site.url("/item/12/"))
        self.assertIn("HTTP/1.1 200 OK\r\n", head)
        self.assertIn("\r\nContent-Length: 4\r\n", head)

    def test_head_leaves_the_connection_as_it_was(self):
        urls = [self.site.url("/item/1/"), self.site.url("/stream/")]
        printed, _ = self.curl("--head", "--write-out", "%{num_connects}", *urls)
        self.assertEqual(re.findall(r"\r\n\r\n(\d)", printed), ["1", "0"])

    def test_upload(self):
        self.assertEqual(self.upload("--header", "Expect:")[0], self.uploaded)

    def test_upload_in_chunks(self):
        uploaded, told = self.upload("--header", "Transfer-Encoding: chunked")
        self.assertEqual(uploaded, self.uploaded)
        self.assertIn("> Transfer-Encoding: chunked", told)

    def test_upload_that_waits_to_be_told_to_go_on(self):
        patience = ("--expect100-timeout", str(PATIENCE))
        uploaded, told = self.upload(*patience, "--header", "Expect: 100-continue")
        self.assertEqual(uploaded, self.uploaded)
        self.assertIn("< HTTP/1.1 100 Continue", told)

    def test_event_stream(self):
        command = self.command("--no-buffer", "--include", self.site.url("/events/"))
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            self.addCleanup(curl.kill)
            read = curl.stdout.readline
            head = b"".join(iter(read, b"\r\n"))
            self.assertIn(b"\r\nContent-Type: text/event-stream\r\n", head)
            self.assertEqual([read(), read()], [b"retry: 10\n", b"\n"])
            wait_until(lambda: self.site.listened() == ["new"])
            for number in range(3):
                self.site.send_event(f"data: {number}\n\n")
                self.assertEqual([read(), read()], [b"data: %d\n" % number, b"\n"])
            self.site.send_event("data: last\n\n", more=False)
            self.assertEqual(curl.stdout.read(), b"data: last\n\n")
            self.assertEqual(curl.wait(PATIENCE), 0)


class PipeliningTests(ClientTestCase):
    """Requests that are sent before the responses to those before them are there."""

    def test_responses_come_in_order(self):
        numbers = range(100)
        requests = [
            f"GET /item/{number}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n" for number in numbers
        ]
        received = self.site.exchange(
            "\r\n".join([*requests, "Connection: close\r\n\r\n"]).encode()
        )
        self.assertEqual(
            re.findall(rb"\r\n\r\n<(\d+)>", received), [b"%d" % n for n in numbers]
        )

    def test_bodies_and_pages(self):
        upload = b"POST /upload/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        received = self.site.exchange(
            upload + b"Content-Length: 3\r\n\r\nabc"
            b"GET /item/1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            + upload
            + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
            b"GET /item/2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )
        found = re.findall(rb'"size": (\d)|<(\d)>', received)
        self.assertEqual(
            found, [(b"3", b""), (b"", b"1"), (b"2", b""), (b"", b"2")], received
        )
