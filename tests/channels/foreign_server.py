"""
An HTTP server in front of Django that knows of channels the format of their
messages alone: nothing of Django is imported. Arguments: the port of the store,
which speaks JSON lines. It prints the port that it serves on.
"""

import base64
import http.server
import json
import os
import socket
import sys
import urllib.parse


class Store:
    def __init__(self):
        self.file = socket.create_connection(("127.0.0.1", int(sys.argv[1]))).makefile(
            "rw"
        )

    def call(self, *command):
        self.file.write(json.dumps(command) + "\n")
        self.file.flush()
        return json.loads(self.file.readline())


class Handler(http.server.BaseHTTPRequestHandler):
    def handle_request(self):
        store, inbox = Store(), f"django.wsgi.response.{os.urandom(8).hex()}!"
        path, _, query = self.path.partition("?")
        meta = {
            f"HTTP_{k.upper().replace('-', '_')}": v for k, v in self.headers.items()
        }
        meta |= {
            "QUERY_STRING": query,
            "CONTENT_LENGTH": self.headers.get("Content-Length", ""),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
        }
        store.call(
            "send",
            "django.wsgi.request",
            {
                "response_channel": f"{inbox}1",
                "method": self.command,
                "scheme": "http",
                "path": urllib.parse.unquote(path),
                "script_name": "",
                "META": meta,
                "GET": urllib.parse.parse_qsl(query, keep_blank_values=True),
                "client": list(self.client_address),
                "body_channel": f"body.{inbox[:-1]}",
            },
        )
        left, head = int(self.headers.get("Content-Length") or 0), None
        while True:
            _, message = store.call("receive", [inbox], 60)
            for _ in range(message.get("read", 0)):
                chunk = self.rfile.read(min(left, 65536))
                left -= len(chunk)
                store.call(
                    "send",
                    f"body.{inbox[:-1]}",
                    {"bytes": base64.b64encode(chunk).decode(), "more": left > 0},
                )
                if not left:
                    break
            if "read" in message:
                continue
            if head is None:
                head = message
                self.send_response(head.get("status", 200), head.get("reason"))
                for name, value in head.get("headers", [["Content-Type", "text/html"]]):
                    self.send_header(name, value)
                self.end_headers()
            self.wfile.write(
                message.get("content", "").encode()
                or base64.b64decode(message.get("bytes", ""))
            )
            if not message.get("more"):
                break
            if "credit_channel" in head:
                store.call("send", head["credit_channel"], {"read": 1})

    do_GET = do_POST = handle_request


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
assert "django" not in sys.modules
server.serve_forever()
