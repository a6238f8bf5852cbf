"""Runs that are compared: what each holds, and which of them differ in their seed alone."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from metajax.core.options import OptionError
from metajax.run.config import LAYOUT, Config, toml_value
from metajax.run.directory import RunDirectory

if TYPE_CHECKING:
    from metajax.run.meta_test import Recorded

_LONGEST = 100  # letters of the settings in a label

Settings = dict[tuple[str, str], Any]
"""Values of a config by section and name."""


class Run(NamedTuple):
    """One run as it lies on disk.

    Attributes:
      name: Where it lies, as it was given.
      directory: The same as a directory.
      config: Its settings, of the meta-test those that were evaluated.
      metrics: Records of its training.
      measured: Its meta-test; None before there is one.
    """

    name: str
    directory: RunDirectory
    config: Config
    metrics: list[dict[str, Any]]
    measured: Recorded | None


def read(directory: RunDirectory) -> Run:
    """A run from its files.

    Raises:
      OptionError: If there is no run, or a file of it is damaged.
    """
    from metajax.run import meta_test

    config, measured = directory.read_config(), None
    if directory.evaluation.exists():
        measured = meta_test.recorded(directory, config)
        config = measured.config
    return Run(str(directory.path), directory, config, directory.read_metrics(), measured)


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ in nothing but their seed, in the order given, by label.

    The label is the algorithm, with the family where there are several, and with the settings in
    which methods of one algorithm and family differ. Settings on which no number depends do not
    count.

    Raises:
      OptionError: For a seed that is there twice.
    """
    found: dict[str, list[Run]] = {}
    for run in runs:
        group = found.setdefault(json.dumps([*_settings(run).items()]), [])
        for other in group:
            if other.config.train.seed == run.config.train.seed:
                problem = f"has the settings and the seed of {other.name}; leave one of them out"
                raise OptionError(run.name, problem)
        group.append(run)
    return dict(zip(_labels([group[0] for group in found.values()]), found.values(), strict=True))


def said(settings: dict[str, Any]) -> str:
    """Some settings in a few words."""
    parts = (f"{name} = {toml_value(value)}" for name, value in settings.items())
    return textwrap.shorten(", ".join(parts), _LONGEST, placeholder=" ...")


def _settings(run: Run) -> Settings:
    """All settings that the numbers of a run depend on but its seed."""
    sections = run.config.to_dict()
    algorithm = {name: one for name, one in sections["algorithm"].items() if name not in LAYOUT}
    train = {"num-iterations": run.config.train.num_iterations}
    kept = {**sections, "algorithm": algorithm, "train": train}
    return {(section, name): one for section in kept for name, one in kept[section].items()}


def _labels(firsts: Sequence[Run]) -> list[str]:
    """A label for each group, by its first run; no two are equal."""
    every = [(run.config.algorithm.name, run.config.family.name, _settings(run)) for run in firsts]
    several = len({family for _, family, _ in every}) > 1
    labels: list[str] = []
    for run, (algorithm, family, own) in zip(firsts, every, strict=True):
        alike = [other for *names, other in every if names == [algorithm, family]]
        differing = {
            name if section == "algorithm" else f"{section}.{name}": value
            for (section, name), value in own.items()
            if any(other.get((section, name)) != value for other in alike)
        }
        label = f"{algorithm} on {family}" if several else algorithm
        label += f" ({said(differing)})" if differing else ""
        labels.append(f"{label}, {run.name}" if label in labels else label)
    return labels
