"""
What people and monitoring ask of interface processes, by HTTP on this host:

    GET /         a JSON document: what each process does and has done
    GET /metrics  the same in the text format of Prometheus
    GET /health   200 if requests can be answered, else 503

A process that serves alone tells of itself. Several of them are told of by what
they have announced, which is a few seconds old.
"""

import json
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from django.channels.exceptions import BackendUnavailable
from django.channels.interfaces.server.metrics import CONTENT_TYPE, format_metrics
from django.db import close_old_connections

logger = logging.getLogger("django.channels.interface")

TEXT = "text/plain; charset=utf-8"


class AnnouncedProcesses:
    """
    Those of `supervisor` that have announced themselves at `backend` lately. Raise
    BackendUnavailable if the store does not answer.
    """

    def __init__(self, backend, supervisor):
        self.backend = backend
        self.supervisor = supervisor

    def __call__(self):
        host, pids = socket.gethostname(), {
            child.pid for child in list(self.supervisor.children)
        }
        try:
            return [
                info
                for _, info in sorted(self.backend.announced().items())
                if info.get("kind") == "interface"
                and info["host"] == host
                and info["pid"] in pids
            ]
        finally:
            self.backend.release()
            close_old_connections()


class StatusServer(ThreadingHTTPServer):
    """
    Answers at `listener`, a Listener, in threads, until stop(). `processes` is called
    for what there is to tell: a list of dicts, see describe() of counters.
    """

    daemon_threads = True

    def __init__(self, listener, processes):
        super().__init__(None, StatusHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener.sock
        self.processes = processes

    def start(self):
        """Begin to answer, in a thread."""
        threading.Thread(target=self.serve_forever, name="status", daemon=True).start()

    def stop(self):
        """Answer no more."""
        self.shutdown()

    def handle_error(self, request, client_address):
        logger.debug("A request for the status has failed.", exc_info=True)


class StatusHandler(BaseHTTPRequestHandler):
    timeout = 5  # Seconds for which a client may be silent.
    pages = {"/": "show", "/metrics": "show_metrics", "/health": "show_health"}

    def do_GET(self):
        name = self.pages.get(self.path.partition("?")[0])
        if name is None:
            self.answer(404, TEXT, f"There are {', '.join(self.pages)}.\n")
            return
        try:
            processes = self.server.processes()
        except BackendUnavailable as exc:
            logger.warning("The status of the processes is not known: %s", exc)
            self.answer(503, TEXT, "The store does not answer.\n")
        else:
            self.answer(*getattr(self, name)(processes))

    do_HEAD = do_GET

    def show(self, processes):
        text = json.dumps({"processes": processes}, indent=2)
        return 200, "application/json", f"{text}\n"

    def show_metrics(self, processes):
        return 200, CONTENT_TYPE, format_metrics(processes)

    def show_health(self, processes):
        if any(about["receiving"] and not about["stopping"] for about in processes):
            return 200, TEXT, "OK\n"
        if any(about["receiving"] for about in processes):
            return 503, TEXT, "The server is stopping.\n"
        if processes:
            return 503, TEXT, "The store does not answer.\n"
        return 503, TEXT, "No process serves.\n"

    def answer(self, status, content_type, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self):
        return "Django"

    def log_message(self, *args):
        """Log nothing: monitoring asks again and again."""
