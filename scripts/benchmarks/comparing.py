"""The comparison of two sides: samples in turns, ratios, spread, bounds."""

import dataclasses
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bound:
    """
    What the "ratio" (patched / unpatched), the "difference" (patched - unpatched,
    in the measure's unit) or the "figure" (patched, in that unit) may be.
    """

    of: str
    at_most: float = None
    at_least: float = None

    def value(self, patched, unpatched):
        """Return what is bounded, for a figure of each side."""
        if self.of == "figure":
            return patched
        return patched - unpatched if self.of == "difference" else patched / unpatched

    def holds(self, value):
        if self.at_most is not None:
            return value <= self.at_most
        return value >= self.at_least

    def __str__(self):
        sign, limit = ("≤", self.at_most) if self.at_most else ("≥", self.at_least)
        return f"{sign} {self.show(limit)}"

    def show(self, value):
        """Return a bounded value as text."""
        formats = {"ratio": ".3f", "difference": "+.2f", "figure": ".1f"}
        return format(value, formats[self.of])


@dataclass(frozen=True)
class Plan:
    """
    How many samples are taken: ``rounds`` in each of so many ``starts`` of the
    processes, each of about so many ``seconds``.
    """

    starts: int
    rounds: int
    seconds: float

    def quick(self):
        """Return the plan of a smoke run."""
        return Plan(1, 1, self.seconds / 5)

    def repeated(self, times):
        """Return the plan with as many times the starts."""
        return dataclasses.replace(self, starts=self.starts * times)


@dataclass(frozen=True)
class Measure:
    """
    One line of the table.

    ``probe`` is called with a side and this measure. It returns a context
    manager whose value has sample(seconds), which returns a figure in ``unit``.
    ``middleware`` says whether the site has startproject's middleware.
    """

    key: str
    title: str
    unit: str
    bound: Bound
    probe: type
    plan: Plan
    middleware: bool = False


@dataclass
class Result:
    """The samples of a measure: a pair of pairs for each round."""

    measure: Measure
    patched: list = field(default_factory=list)
    unpatched: list = field(default_factory=list)

    def add_round(self, patched, unpatched):
        self.patched.append(patched)
        self.unpatched.append(unpatched)

    @property
    def figures(self):
        """Return the median of the patched and of the unpatched side."""
        return tuple(
            statistics.median(sample for pair in side for sample in pair)
            for side in (self.patched, self.unpatched)
        )

    @property
    def values(self):
        """Return what is bounded, for each round."""
        return [
            self.measure.bound.value(statistics.mean(patched), statistics.mean(other))
            for patched, other in zip(self.patched, self.unpatched, strict=True)
        ]

    @property
    def value(self):
        """Return the median of what is bounded."""
        return statistics.median(self.values)

    @property
    def spread(self):
        """Return the first and the third quartile of what is bounded."""
        if len(self.values) < 2:
            return self.value, self.value
        first, _, third = statistics.quantiles(self.values, method="inclusive")
        return first, third

    @property
    def holds(self):
        return self.measure.bound.holds(self.value)


def compare(measure, sides, plan):
    """Take the samples of a measure, of the sides (patched, unpatched) in turns."""
    result = Result(measure)
    for start in range(plan.starts):
        with ExitStack() as stack:
            # What starts first has no lasting advantage.
            order = (0, 1) if start % 2 else (1, 0)
            probes = {
                index: stack.enter_context(measure.probe(sides[index], measure))
                for index in order
            }
            for index in order:
                probes[index].sample(plan.seconds)  # Warms up.
            for number in range(plan.rounds):
                take_round(result, probes, plan.seconds, number % 2)
    return result


def take_round(result, probes, seconds, first):
    """Take the four samples of a round, ``first`` being the side A."""
    samples = {0: [], 1: []}
    for index in (first, 1 - first, 1 - first, first):
        samples[index].append(probes[index].sample(seconds))
    result.add_round(samples[0], samples[1])
