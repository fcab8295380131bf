"""What is counted for every piece of every answer, without the lock that prometheus_client takes each
time: only the event loop counts, and only it reads.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override


class Counts(Collector):
    """A counter with one label, whose values are all known at first."""

    def __init__(self, name: str, what: str, label: str, values: Iterable[str]) -> None:
        self._name = name
        self._what = what
        self._label = label
        self._counts = {value: [0] for value in values}

    def adding(self, value: str) -> Callable[[int], None]:
        """What adds to the count of one value of the label."""
        count = self._counts[value]

        def add(more: int) -> None:
            count[0] += more

        return add

    @override
    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._what, labels=[self._label])
        for value, (count,) in self._counts.items():
            family.add_metric([value], count)
        yield family


class Buckets(Collector):
    """A histogram with one label. `bounds` rise."""

    def __init__(self, name: str, what: str, label: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._what = what
        self._label = label
        self._bounds = bounds
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, value: str, seen: float) -> None:
        """Counts one number that was seen, of one value of the label."""
        counts = self._counts.get(value)
        if counts is None:
            counts = self._counts[value] = [0] * (len(self._bounds) + 1)
            self._sums[value] = 0.0
        counts[bisect_left(self._bounds, seen)] += 1
        self._sums[value] += seen

    @override
    def collect(self) -> Iterable[Metric]:
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        family = HistogramMetricFamily(self._name, self._what, labels=[self._label])
        for value, counts in self._counts.items():
            buckets = list(zip(names, accumulate(counts), strict=True))
            family.add_metric([value], buckets, self._sums[value])
        yield family
