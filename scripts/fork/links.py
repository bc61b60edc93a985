"""What came of following the links of the documentation."""

import re
from urllib.parse import urlsplit

# A host that does not answer must not take long.
OPTIONS = ("-D", "linkcheck_timeout=10", "-D", "linkcheck_retries=1")

# What the answer of a server, or the lack of one, says of the link.
GONE = re.compile(r"(404|410) Client Error|^Anchor .* not found")
ANSWER = re.compile(r"\d{3} (Client|Server) Error")


def judge(results):
    """
    Return (failures, notes), sentences on the results of Sphinx's link checker,
    dicts as in its output.json.

    A page or a place in it that does not exist is a failure. A host that cannot be
    reached, or that refuses to answer, may be there for others.
    """
    failures, unreached, refused = [], set(), []
    for result in results:
        if result["status"] not in ("broken", "timeout"):
            continue
        uri, info = result["uri"], result["info"]
        where = f"docs/{result['filename']}:{result['lineno']}: {uri}"
        if GONE.search(info):
            failures.append(f"{where}: {info}")
        elif ANSWER.search(info):
            refused.append(f"{where}: {info}")
        elif host := urlsplit(uri).hostname:
            unreached.add(host)
        else:
            failures.append(f"{where} leads nowhere.")
    notes = []
    if unreached:
        hosts = ", ".join(sorted(unreached))
        notes.append(f"Links to {hosts} were not checked: no answer from there.")
    return failures, notes + refused
