"""
Run Autobahn's cases by kosoku: fuzzing_client.py PORT PARALLEL CASE ...

This runs in the environment of kosoku. It prints a JSON list with a dict for
each case: its id, the verdicts on the messages and on the closing, and why.

The cases of compression take messages as bytes. kosoku hands over as bytes what
came compressed, and as str what did not, with a character for each byte.
RFC 7692, section 6, leaves it to the sender whether a message is compressed,
and short ones are better not. So the cases of 16 and of 64 bytes would fail in
the runner ("Strings must be encoded before hashing"), not at the server. Here
these cases get bytes always.

They also send 1,000 messages each, 128 MB in some. That is half an hour on two
cores, and is cut to what VOLUME says; no case is left out.
"""

import asyncio
import functools
import json
import sys

import kosoku
from kosoku.cases import CASES

COMPRESSION = ("12.", "13.")

VOLUME = 2**23  # Bytes that a case of compression may send, not compressed.


def taking_bytes(on_message):
    """Return the method `on_message` of a case, given bytes."""

    @functools.wraps(on_message)
    def wrapper(case, message, binary):
        if isinstance(message, str):
            message = message.encode("latin-1")
        return on_message(case, message, binary)

    return wrapper


def adapt(case):
    """Change the class of a case of compression as said above."""
    case.onMessage = taking_bytes(case.onMessage)
    case.COUNT = min(case.COUNT, VOLUME // case.LEN)


def results_of(port, parallel, patterns):
    """Return the CaseResults of the cases that match the patterns, or of all."""
    for name, case in CASES.items():
        if name.startswith(COMPRESSION):
            adapt(case)
    client = kosoku.run_fuzzingclient(
        f"127.0.0.1:{port}", patterns, None, concurrency=parallel
    )
    return asyncio.run(collect(client))


async def collect(client):
    """Return what a run of cases returns, also if some of them fail."""
    try:
        return await client
    except kosoku.FailureError as failure:
        return failure.results


def describe(result):
    """Return what the report needs of a CaseResult."""
    return {
        "id": result.case_id,
        "behavior": result.behavior.value,
        "closing": result.behavior_close.value,
        "why": f"{result.result} {result.result_close}",
    }


if __name__ == "__main__":
    port, parallel, *patterns = sys.argv[1:]
    results = results_of(port, int(parallel), patterns or None)
    cases = {"known": list(CASES), "results": list(map(describe, results))}
    json.dump(cases, sys.stdout)
