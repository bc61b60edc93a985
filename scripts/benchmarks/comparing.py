"""
The comparison of two sides: samples in turns, ratios, spread, bounds.

Where there is nothing to compare with, there is one side, the first.
"""

import dataclasses
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bound:
    """
    What the "ratio" (patched / unpatched), the "difference" (patched - unpatched,
    in the measure's unit) or the "figure" (patched, in that unit) may be. Without
    limits it may be anything.
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
        return self.at_least is None or value >= self.at_least

    def __str__(self):
        sign, limit = ("≤", self.at_most) if self.at_most else ("≥", self.at_least)
        return "" if limit is None else f"{sign} {self.show(limit)}"

    def show(self, value):
        """Return a bounded value as text."""
        if self.of == "figure":
            return show_figure(value)
        return format(value, {"ratio": ".3f", "difference": "+.2f"}[self.of])


def show_figure(figure):
    """Return a figure as text."""
    if figure < 10:
        return f"{figure:.2f}"
    return f"{figure:.1f}" if figure < 1000 else f"{figure:,.0f}"


@dataclass(frozen=True)
class Plan:
    """
    How many samples are taken: ``rounds`` in each of so many ``starts`` of the
    processes, each of about so many ``seconds``. ``warm_up`` says whether a sample
    comes before them that does not count.
    """

    starts: int
    rounds: int
    seconds: float
    warm_up: bool = True

    def quick(self):
        """Return the plan of a smoke run."""
        return Plan(1, 1, self.seconds / 5, self.warm_up)

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

    If a sample holds several figures, ``parts`` has a measure for each of them.
    """

    key: str
    title: str
    unit: str
    bound: Bound
    probe: type
    plan: Plan
    middleware: bool = False
    parts: tuple = ()


@dataclass
class Result:
    """
    The samples of a measure: a pair of pairs for each round. If there is but one
    side, the pairs of the other are empty.
    """

    measure: Measure
    patched: list = field(default_factory=list)
    unpatched: list = field(default_factory=list)

    def add_round(self, patched, unpatched):
        self.patched.append(patched)
        self.unpatched.append(unpatched)

    @property
    def figures(self):
        """Return the median of the patched and of the unpatched side, or None."""
        return tuple(
            statistics.median(samples) if samples else None
            for side in (self.patched, self.unpatched)
            for samples in [[sample for pair in side for sample in pair]]
        )

    @property
    def values(self):
        """Return what is bounded, for each round."""
        return [
            self.measure.bound.value(
                statistics.mean(patched), statistics.mean(other) if other else None
            )
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

    def split(self):
        """Return the results of the parts of the measure."""

        def pick(index, side):
            return [[sample[index] for sample in pair] for pair in side]

        return [
            Result(part, pick(index, self.patched), pick(index, self.unpatched))
            for index, part in enumerate(self.measure.parts)
        ]


def compare(measure, sides, plan):
    """
    Take the samples of a measure, of the sides (patched, unpatched) in turns, or
    of one side.
    """
    result = Result(measure)
    for start in range(plan.starts):
        with ExitStack() as stack:
            # What starts first has no lasting advantage.
            order = range(len(sides)) if start % 2 else range(len(sides))[::-1]
            probes = {
                index: stack.enter_context(measure.probe(sides[index], measure))
                for index in order
            }
            if plan.warm_up:
                for index in order:
                    probes[index].sample(plan.seconds)
            for number in range(plan.rounds):
                take_round(result, probes, plan.seconds, number % 2)
    return result


def take_round(result, probes, seconds, first):
    """Take the four samples of a round, ``first`` being the side A."""
    samples = {0: [], 1: []}
    for index in (first, 1 - first, 1 - first, first):
        if index in probes:
            samples[index].append(probes[index].sample(seconds))
    result.add_round(samples[0], samples[1])
