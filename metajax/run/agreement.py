"""Whether two runs of the same settings agree, and what of their machines differs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

TOLERANCE = 0.01
"""Largest difference where machines differ, as a fraction of the largest magnitude."""

# Of what differs by less than float64 tells, 0 and -0 for example.
_LEAST = np.finfo(float).tiny


class Agreement(NamedTuple):
    """How far parts of two runs agree: lines of metrics, or arrays of theta.

    Attributes:
      parts: What they are called, in the plural.
      number: Parts compared.
      same: Parts that are the same bit for bit.
      within: Parts that are the same, or differ by no more than the tolerance.
      largest: Largest difference, as a fraction of the largest magnitude of the metric in the
        run, or of the array; infinite where one has a number and the other has none.
      first: The first part that differs by more, in words; "" if there is none.
    """

    parts: str
    number: int
    same: int
    within: int
    largest: float
    first: str

    @property
    def agrees(self) -> bool:
        """Whether every part is within the tolerance."""
        return self.within == self.number

    def words(self, tolerance: float) -> str:
        """The agreement in words, for the tolerance that it was made with."""
        text = f"{self.same} of {self.number} {self.parts} are equal bit for bit"
        if self.same < self.number and tolerance:
            text += f", {self.within} within {tolerance:.3g}"
        if self.same < self.number:
            text += f"; the largest difference is {self.largest:.2g} of the magnitude"
        return text if self.agrees else f"{text}; first beyond: {self.first}"


def of_metrics(
    then: Iterable[Mapping[str, Any]],
    now: Iterable[Mapping[str, Any]],
    num_iterations: int,
    tolerance: float,
) -> Agreement:
    """The agreement of the metrics of two runs, line by line, without their clocks and ids.

    What is of another shape raises one of several errors; see ``records.shaped``.
    """
    lines = [{one["iteration"]: _compared(one) for one in each} for each in (then, now)]
    pairs = {
        iteration: [each.get(iteration, {}) for each in lines]
        for iteration in range(1, num_iterations + 1)
    }
    scales: dict[str, float] = {}
    for one, _ in pairs.values():
        for name, value in one.items():
            scales[name] = max(scales.get(name, 0.0), _magnitude(value))

    def parts() -> Iterator[tuple[str, float]]:
        for iteration, (one, other) in pairs.items():
            apart = {
                name: _difference(one.get(name), other.get(name), scales.get(name, 0.0))
                for name in {**one, **other}
            }
            name = max(apart, key=lambda name: apart[name])
            words = f"{name}: {_pair(one.get(name), other.get(name))}"
            yield f"iteration {iteration}, {words if one else 'which is missing'}", apart[name]

    return _agreement("lines", parts(), tolerance)


def of_arrays(
    then: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray], tolerance: float
) -> Agreement:
    """The agreement of two thetas of one structure, array by array."""
    parts = ((name, _difference(one, now[name], _magnitude(one))) for name, one in then.items())
    return _agreement("arrays", parts, tolerance)


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Differences between two machines (``machine.environment``), a line of text each."""
    parts = [{**one, **_mapping(one.get("versions"))} for one in (then, now)]
    lines = [
        f"{name.replace('_', ' ')}: {_pair(parts[0].get(name), value)}"
        for name, value in parts[1].items()
        if name not in ("versions", "dirty") and parts[0].get(name) != value
    ]
    changed = [word for word, one in zip(("then", "now"), parts, strict=True) if one.get("dirty")]
    if changed:
        lines.append(f"source: with changes that no revision has {' and '.join(changed)}")
    return lines


def _compared(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in ("run", "seconds")}


def _agreement(parts: str, named: Iterable[tuple[str, float]], tolerance: float) -> Agreement:
    """The agreement behind differences of parts by name; a difference of 0 is bit for bit."""
    found = [*named]
    apart = [one for _, one in found]
    beyond = (name for name, one in found if not one <= tolerance)
    return Agreement(
        parts=parts,
        number=len(found),
        same=apart.count(0.0),
        within=sum(one <= tolerance for one in apart),
        largest=max(apart, default=0.0),
        first=next(beyond, ""),
    )


def _difference(then: Any, now: Any, scale: float) -> float:
    """The largest difference of two values over ``scale``; 0 only where they are the same."""
    if _bits(then) == _bits(now):
        return 0.0
    if then is None or now is None or np.shape(then) != np.shape(now):
        return np.inf
    apart = np.max(np.abs(np.asarray(then, float) - np.asarray(now, float)))
    return max(float(apart / scale), _LEAST) if scale and np.isfinite(apart) else np.inf


def _bits(value: Any) -> Any:
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value)


def _magnitude(value: Any) -> float:
    numbers = np.abs(np.asarray([] if value is None else value, float))
    return float(np.max(numbers, initial=0.0, where=np.isfinite(numbers)))


def _pair(then: Any, now: Any) -> str:
    return f"{_short(then)} then, {_short(now)} now"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(value: Any) -> str:
    return "not recorded" if value is None else textwrap.shorten(str(value), 60, placeholder="...")
