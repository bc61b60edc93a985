"""
An HTTP server that knows the format of messages alone. Argument: a store's port.
"""

import json
import os
import sys
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_connection
from urllib.parse import parse_qsl, unquote


class Handler(BaseHTTPRequestHandler):
    def call(self, *command):
        self.store.write(json.dumps(command) + "\n")
        self.store.flush()
        return json.loads(self.store.readline())

    def do_GET(self):
        self.store = create_connection(("127.0.0.1", int(sys.argv[1]))).makefile("rw")
        inbox = f"django.wsgi.response.{os.urandom(8).hex()}!"
        body_channel = f"django.wsgi.body.{inbox[:-1]}"
        length = int(self.headers.get("Content-Length") or 0)
        path, _, query = self.path.partition("?")
        meta = {"QUERY_STRING": query, "REMOTE_ADDR": self.client_address[0]}
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            meta[key if key.startswith("CONTENT_") else f"HTTP_{key}"] = value
        request = {"response_channel": f"{inbox}1", "body_channel": body_channel}
        request |= {"method": self.command, "scheme": "http", "META": meta}
        request |= {"path": unquote(path), "script_name": "", "GET": parse_qsl(query)}
        self.call("send", "django.wsgi.request", request)
        credit = more = None
        while more is not False:
            _, answer = self.call("receive", [inbox], 60)
            for _ in range(answer.get("read", 0)):
                chunk = self.rfile.read(min(length, 65536))
                length -= len(chunk)
                part = {"bytes": b64encode(chunk).decode(), "more": length > 0}
                self.call("send", body_channel, part)
            if "status" in answer:
                credit = answer.get("credit_channel")
                self.send_response(answer["status"], answer.get("reason"))
                for name, value in answer["headers"]:
                    self.send_header(name, value)
                self.end_headers()
            text, data = answer.get("content", ""), answer.get("bytes", "")
            self.wfile.write(text.encode() or b64decode(data))
            more = answer.get("more", "read" in answer)
            if more and credit:
                self.call("send", credit, {"read": 1})

    do_POST = do_GET


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
assert "django" not in sys.modules
server.serve_forever()
