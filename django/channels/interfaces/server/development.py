"""The interface server as runserver has it."""

import logging
import time

from django.channels.interfaces.server.servers import InterfaceServer

logger = logging.getLogger("django.server")


class DevelopmentServer(InterfaceServer):
    """
    Leaves it to the site to refuse hosts, with a page that says why, and logs
    requests as the development server does.
    """

    checks_hosts = False

    def log_request(self, connection, head, status, size, seconds):
        if status >= 500:
            log = logger.error
        elif status >= 400:
            log = logger.warning
        else:
            log = logger.info
        extra = {
            "status_code": status,
            "server_time": time.strftime("%d/%b/%Y %H:%M:%S"),
        }
        line = f"{head.method} {head.target} HTTP/{head.version}"
        log('"%s" %s %s', line, status, size, extra=extra)
