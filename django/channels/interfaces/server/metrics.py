"""
The counters of interface processes in the text format of Prometheus (version 0.0.4).

    # TYPE django_interface_requests_total counter
    django_interface_requests_total{process="4711",status="2xx"} 12
"""

from itertools import accumulate

from django.channels.interfaces.server.counters import BOUNDS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Name -> (type, path in what describe() of counters returns, label of the numbers
# there or None if there is one, help).
METRICS = {
    "receiving": (
        "gauge",
        "receiving",
        None,
        "Whether the store can be received from.",
    ),
    "connections": ("gauge", "connections.open", None, "Open connections."),
    "connections_total": ("counter", "connections.total", None, "Connections."),
    "connections_refused_total": (
        *("counter", "connections.refused", None),
        "Connections of addresses that had too many.",
    ),
    "requests_total": (
        *("counter", "requests", "status"),
        "Requests, by the class of the status of their responses.",
    ),
    "requests_refused_total": (
        *("counter", "refused", "status"),
        "Requests that were not in order, by status.",
    ),
    "websockets": ("gauge", "websockets.open", None, "Open WebSockets."),
    "websockets_accepted_total": (
        *("counter", "websockets.accepted", None),
        "Handshakes of WebSockets that were accepted.",
    ),
    "websockets_refused_total": (
        *("counter", "websockets.refused", "reason"),
        "Handshakes of WebSockets that were refused, by reason.",
    ),
    "websockets_closed_total": (
        *("counter", "websockets.closed", "code"),
        "WebSockets that have ended, by the code of their clients.",
    ),
    "messages_received_total": (
        *("counter", "messages.received", None),
        "Messages of WebSockets from clients.",
    ),
    "messages_sent_total": (
        *("counter", "messages.sent", None),
        "Messages of WebSockets to clients.",
    ),
    "drops_total": (
        *("counter", "drops", "reason"),
        "Messages from the store that were dropped, by reason.",
    ),
    "events_total": ("counter", "events", "name", "Other events, by name."),
}

# Name -> (key in what describe() of counters returns, help).
HISTOGRAMS = {
    "answer_seconds": ("answers", "Time until the first message of a response."),
    "acknowledgement_seconds": (
        "acknowledgements",
        "Time until a worker is done with a message of a WebSocket.",
    ),
}


def format_metrics(processes):
    """
    Return the text for a list of dicts, each what describe() of counters returns for
    a process and its "pid".
    """
    lines = []
    for name, (kind, path, label, text) in METRICS.items():
        lines += head(name, kind, text)
        for about in processes:
            lines += samples(name, about["pid"], find(about, path), label)
    for name, (key, text) in HISTOGRAMS.items():
        lines += head(name, "histogram", text)
        for about in processes:
            lines += buckets(name, about["pid"], about[key])
    return "".join(f"{line}\n" for line in lines)


def head(name, kind, text):
    """Return the lines before the samples of a metric."""
    name = f"django_interface_{name}"
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def find(about, path):
    """Return what a dict of dicts has at a path such as "connections.open"."""
    for key in path.split("."):
        about = about[key]
    return about


def samples(name, pid, found, label):
    """Return the lines for a number, or for each number of a dict."""
    if label is None:
        return [sample(name, int(found), process=pid)]
    return [
        sample(name, number, process=pid, **{label: key})
        for key, number in found.items()
    ]


def buckets(name, pid, histogram):
    """Return the lines for what describe() of a Histogram returns."""
    totals = list(accumulate(histogram["counts"]))
    bounds = [*map(str, BOUNDS), "+Inf"]
    return [
        *(
            sample(f"{name}_bucket", total, process=pid, le=bound)
            for bound, total in zip(bounds, totals)
        ),
        sample(f"{name}_sum", histogram["sum"], process=pid),
        sample(f"{name}_count", totals[-1], process=pid),
    ]


def sample(name, value, **labels):
    """Return a line. The values of labels are of the project itself."""
    pairs = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"django_interface_{name}{{{pairs}}} {value}"
