"""
Measure bodies that cross as the text of messages, in one process.

The memory layer has the option SERIALIZE here, so that each part of a body
becomes JSON and is read from it again, as with a store outside of the process.
The bounds are for the patched side; the unpatched one, where bodies do not
cross anything, shows what the machine can do.

  upload      a view reads a body
  stream      a view sends one
  growth      memory that a process takes for either, above what it had before
"""

from dataclasses import dataclass

from fork.base import BUILD, say

from .comparing import Bound, Measure, Plan, compare
from .inprocess import GrowthProbe, TextStreamProbe, TextUploadProbe
from .memory import conclude
from .reporting import Table, write_json
from .sides import add_side_arguments, find_sides

PLAN = Plan(starts=1, rounds=3, seconds=0)


@dataclass(frozen=True)
class Transfer(Measure):
    """A measure of bodies of ``size`` bytes."""

    size: int = 2**30


def measures(size):
    speed = {"unit": "MB/s", "bound": Bound("figure", at_least=150), "plan": PLAN}
    return [
        Transfer(
            key="upload", title="upload", probe=TextUploadProbe, size=size, **speed
        ),
        Transfer(
            key="stream", title="stream", probe=TextStreamProbe, size=size, **speed
        ),
        Transfer(
            key="growth",
            title="growth of a process",
            unit="MB",
            bound=Bound("figure", at_most=64),
            probe=GrowthProbe,
            plan=PLAN,
            size=size,
        ),
    ]


def add_arguments(parser):
    parser.add_argument(
        "--size",
        type=int,
        default=2**10,
        metavar="N",
        help="megabytes (2**20 bytes) of a body, 1024 unless given",
    )
    add_side_arguments(parser)


def run(options):
    """Measure, print the table and return the exit status."""
    sides = find_sides(options.patched, options.unpatched, BUILD / "bench")
    table, results = Table(), []
    for measure in measures(options.size * 2**20):
        results.append(compare(measure, sides, measure.plan))
        table.print_row(results[-1])
    if options.json:
        write_json(options.json, sides, results)
    say(f"Bodies of {options.size} MB.")
    return conclude(results, False)
