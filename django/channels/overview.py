"""What waits in the queues of a channel backend, and who works there."""

import time

from django.channels.messages import queue_name
from django.channels.registry import registry


def overview(backend):
    """
    Return a dict of JSON values about `backend`:

    * "backend": its alias, "kind": what it is, "process_local": whether queues of
      other processes cannot be seen.
    * "channels": a list of dicts with "name", "consumer" (None without one),
      "depth" in messages, "oldest" in seconds (None if it is empty) and "delayed",
      the number of messages that are not due yet.
    * "inboxes": "count", "depth" and "oldest" of the queues that belong to
      processes and not to consumers.
    * "workers": a list of what worker processes said of themselves lately, see
      django.channels.processes.worker.WorkerProcess.describe().
    * "interfaces": a list of what interface processes said of themselves lately, see
      describe() of django.channels.interfaces.server.counters.
    * "drops": how many messages all of these have dropped, by reason.

    Raise BackendUnavailable if the store does not answer.
    """
    queues = backend.queues()
    processes = [
        {"name": name, **info} for name, info in sorted(backend.announced().items())
    ]
    workers = [info for info in processes if info.get("kind") == "worker"]
    interfaces = [info for info in processes if info.get("kind") == "interface"]
    return {
        "backend": backend.alias,
        "kind": backend.describe(),
        "process_local": backend.process_local,
        "time": round(time.time(), 3),
        "channels": describe_channels(backend.alias, queues),
        "inboxes": describe_inboxes(queues),
        "workers": workers,
        "interfaces": interfaces,
        "drops": add_up(info.get("drops", {}) for info in workers + interfaces),
    }


def is_inbox(queue):
    """Return whether a queue is the inbox of a process."""
    return queue_name(queue).endswith("!")


def describe_channels(alias, queues):
    """Return what is known of each channel that has a consumer or messages."""
    names = registry.channels(alias)
    waiting = [name for name in queues if not is_inbox(name)]
    described = []
    for name in sorted({*names, *waiting}):
        consumer, queue = registry.get(name, alias), queues.get(name)
        described.append(
            {
                "name": name,
                "consumer": None if consumer is None else str(consumer),
                "depth": queue.depth if queue else 0,
                "oldest": round(queue.oldest, 3) if queue and queue.depth else None,
                "delayed": queue.delayed if queue else 0,
            }
        )
    return described


def describe_inboxes(queues):
    """Return the sums over all inboxes."""
    inboxes = [queue for name, queue in queues.items() if is_inbox(name)]
    oldest = max((queue.oldest for queue in inboxes), default=None)
    return {
        "count": len(inboxes),
        "depth": sum(queue.depth for queue in inboxes),
        "oldest": None if oldest is None else round(oldest, 3),
    }


def add_up(counts):
    """Return the sum of dicts of numbers."""
    total = {}
    for part in counts:
        for reason, number in part.items():
            total[reason] = total.get(reason, 0) + number
    return total


def describe_age(seconds):
    """Return a short text for a number of seconds, or "-" for None."""
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def format_overview(about):
    """Return the text for people of what overview() returns."""
    lines = [f"Channel backend {about['backend']!r}: {about['kind']}"]
    if about["process_local"]:
        lines.append(
            "Queues of other processes cannot be seen: this backend keeps them inside "
            "of each."
        )
    lines += ["", *format_channels(about["channels"], about["workers"])]
    inboxes = about["inboxes"]
    lines += [
        "",
        f"Inboxes with messages: {inboxes['count']}, messages in them: "
        f"{inboxes['depth']}, oldest: {describe_age(inboxes['oldest'])}",
    ]
    if not about["process_local"]:
        lines += ["", *format_workers(about["workers"])]
        if about["interfaces"]:
            lines += ["", *format_interfaces(about["interfaces"])]
    return "\n".join(lines)


def format_channels(described, workers):
    """Return the lines of a table of channels."""
    rows = [("Channel", "Depth", "Oldest", "Delayed", "Workers", "Consumer")]
    for channel in described:
        name = channel["name"]
        serving = sum(name in worker.get("channels", ()) for worker in workers)
        rows.append(
            (
                name,
                str(channel["depth"]),
                describe_age(channel["oldest"]),
                str(channel["delayed"]),
                str(serving),
                channel["consumer"] or "none",
            )
        )
    return align(rows)


def format_workers(workers):
    """Return the lines of a table of workers."""
    if not workers:
        return ["No worker has been seen lately."]
    rows = [
        ("Worker", "Up", "Threads", "Busy", "Longest", "Handled", "Failed", "Drops")
    ]
    for info in workers:
        rows.append(
            (
                f"{info.get('host')}:{info.get('pid')}",
                describe_age(info.get("uptime")),
                str(info.get("threads")),
                str(info.get("busy")),
                describe_age(info.get("longest") or None),
                str(info.get("handled")),
                str(info.get("failed")),
                describe_counts(info.get("drops")),
            )
        )
    return align(rows)


def format_interfaces(interfaces):
    """Return the lines of a table of interface processes."""
    rows = [
        ("Interface", "Up", "Open", "WebSockets", "In", "Out", "Requests")
        + ("Answered", "Drops")
    ]
    for info in interfaces:
        answers, messages = info["answers"], info["messages"]
        half = answers["p50"]
        rows.append(
            (
                f"{info['host']}:{info['pid']}",
                describe_age(info["uptime"]),
                str(info["connections"]["open"]),
                str(info["websockets"]["open"]),
                str(messages["received"]),
                str(messages["sent"]),
                describe_counts(info["requests"]),
                "-" if half is None else f"{half:.3f} s, {answers['p99']:.3f} s",
                describe_counts(info["drops"]),
            )
        )
    return align(rows)


def describe_counts(counts):
    """Return a short text for a dict of numbers."""
    return ", ".join(f"{counts[name]} {name}" for name in sorted(counts or {})) or "0"


def align(rows):
    """Return a line for each row of strings, with columns of the same width."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in rows
    ]
