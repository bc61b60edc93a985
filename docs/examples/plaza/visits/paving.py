"""The picture on the page: a plaza that visits pave."""

from dataclasses import dataclass

SIZE = 144


@dataclass(frozen=True)
class Paving:
    """
    Stones in the order in which they are drawn, each "own", "other" or "bare",
    and the number of views that one stone stands for.
    """

    stones: list
    views: int


def pave(total, own, size=SIZE):
    """
    Return the Paving for `total` views, of which `own` are the visitor's.

    There are at most `size` stones. The visitor's are spread evenly among the
    laid ones, with the last of those theirs.
    """
    views = max(-(-total // size), 1)
    laid = -(-total // views)
    mine = min(-(-own // views), laid)
    stones = [
        "own" if number * mine // laid > (number - 1) * mine // laid else "other"
        for number in range(1, laid + 1)
    ]
    return Paving(stones + ["bare"] * (size - laid), views)
