"""Cells of a table: the whole config of each, and whether a record is of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from metajax.algorithms import ALGORITHMS
from metajax.core.options import OptionError, kebab, suggest
from metajax.experiments.table_definition import Column, Profile, Row, Table, chosen
from metajax.run import config as configs
from metajax.run.config import Config, EvaluateOptions
from metajax.tasks import FAMILIES


class Cell(NamedTuple):
    """One measurement of a table.

    Attributes:
      table, row, column: where it stands.
      config: with the seed in ``train.seed``; of a reference only the family and
        ``evaluate`` count, of a method that is not trained all but ``train``.
      seed: of training, or of weights that stay as they were drawn.
      measured: the config of the measurement, another where the table finetunes.
    """

    table: Table
    row: Row
    column: Column
    config: Config
    seed: int
    measured: Config

    @property
    def name(self) -> str:
        """As ``--only`` takes it."""
        return self.row.name if self.table.is_vector else f"{self.row.name}/{self.column.name}"

    @property
    def metric(self) -> str:
        """How returns become the cell's number."""
        return self.column.metric or self.table.metric

    @property
    def settings(self) -> dict[str, Any]:
        """All that the cell's number depends on, as JSON writes it."""
        sections = self.config.to_dict()
        kept = {name: one for name, one in sections.items() if name not in ("train", "algorithm")}
        kept |= {"metric": self.metric, "seed": self.seed}
        if self.row.reference:
            return _plain(kept | {"reference": self.row.reference})
        kept["algorithm"] = sections["algorithm"]
        finetuned = self.measured.to_dict()["algorithm"]
        if finetuned != sections["algorithm"]:
            kept["finetune"] = finetuned
        if self.row.is_trained:
            kept["train"] = {"num-iterations": self.config.train.num_iterations}
        if self.row.tune:
            kept["tune"] = self.row.tune
        return _plain(kept)

    @property
    def training_digest(self) -> str:
        """Digits that differ where training does."""
        settings = self.settings
        return digest({name: settings[name] for name in ("family", "algorithm", "train", "seed")})

    def is_of(self, record: Mapping[str, Any]) -> bool:
        """Whether a record holds this cell's number.

        Options that did not exist when the record was written count as their
        defaults, so that a new option leaves old results valid.
        """
        recorded = record.get("settings")
        return isinstance(recorded, dict) and _with_defaults(recorded) == self.settings


def digest(settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that differ where any setting differs."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cells(table: Table, profile: str) -> list[Cell]:
    """Every cell of a profile that is measured, seed by seed.

    Raises:
      OptionError: for options that a family or an algorithm does not have.
    """
    scope = table.profiles[profile]
    found = []
    for row in table.rows:
        for column in table.columns if row.is_measured else ():
            if _is_chosen(scope, row, column):
                both = _configs(table, row, column, profile)
                for seed in row.seeds or (scope.seeds if row.is_trained else (0,)):
                    config, measured = (
                        dataclasses.replace(one, train=dataclasses.replace(one.train, seed=seed))
                        for one in both
                    )
                    found.append(Cell(table, row, column, config, seed, measured))
    return found


def _is_chosen(profile: Profile, row: Row, column: Column) -> bool:
    names = row.name, f"{row.name}/{column.name}"
    columns = [one for one in (profile.columns, row.columns) if one is not None]
    return (profile.rows is None or chosen(profile.rows, *names)) and all(
        chosen(one, column.name) for one in columns
    )


def only(table: Table, profile: str, names: Sequence[str], seeds: Sequence[int] = ()) -> list[Cell]:
    """The cells of rows, or of row/column, and of seeds; no names or no seeds are all of them.

    Raises:
      OptionError: for a name or a pattern that fits none of the cells, or a seed of none.
    """
    found = cells(table, profile)
    known = _names(found)
    for name in names:
        if not chosen([name], *known):
            having = [
                f"--profile {other} has it"
                for other in table.profiles
                if chosen([name], *_names(cells(table, other)))
            ]
            rows = dict.fromkeys(one.row.name for one in found)
            allowed = f"allowed: {', '.join(rows)}" + ("" if table.is_vector else ", ROW/COLUMN")
            hint = f"{suggest(name, known)}{allowed}" if not having else having[0]
            raise OptionError("--only", f'"{name}" is not in profile {profile}; {hint}')
    found = [one for one in found if not names or chosen(names, one.row.name, one.name)]
    there = sorted({one.seed for one in found})
    for seed in seeds:
        if seed not in there:
            allowed = ", ".join(map(str, there))
            raise OptionError("--seeds", f"{seed} is no seed of these cells; allowed: {allowed}")
    return [one for one in found if not seeds or one.seed in seeds]


def _names(cells: Iterable[Cell]) -> list[str]:
    """All that ``--only`` may name."""
    return list(dict.fromkeys(name for one in cells for name in (one.row.name, one.name)))


def _configs(table: Table, row: Row, column: Column, profile: str) -> tuple[Config, Config]:
    """The config that theta comes from, and the one that it is measured in."""
    where = f"{table.name}.rows.{row.name}"
    if not table.is_vector:
        where = f"{where}[{column.name}]"
    sections: dict[str, dict[str, Any]] = {name: {} for name in configs.SECTIONS}
    if row.config is not None:
        path = table.directory.parent.parent / "configs" / row.config
        if not path.exists():  # a table of one's own
            path = pathlib.Path("configs", row.config)
        try:
            whole = configs.load(path).to_dict()
        except OptionError as error:
            raise OptionError(f"{table.name}.rows.{row.name}.config", str(error)) from None
        sections = {name: whole[name] for name in configs.SECTIONS}
        if "evaluate.family" in whole:
            sections["evaluate"] |= {"family": whole["evaluate.family"]}
    for layer in _layers(table, row, column, profile):
        for name in configs.SECTIONS:
            _lay(sections[name], layer.get(name) or {})
    if not row.algorithm and row.config is None:  # a reference, which has no algorithm
        sections["algorithm"] = {"name": "maml"}
    layers = _layers(table, row, column, profile)
    finetuned = _finetuned(sections["algorithm"], [one.get("finetune") or {} for one in layers])
    try:
        config = configs.parse(_toml(sections))
    except OptionError as error:
        raise OptionError(f"{where}.{error.field}", error.problem) from None
    try:
        measured = configs.parse(_toml({**sections, "algorithm": finetuned}))
    except OptionError as error:
        field = error.field.replace("algorithm", "finetune", 1)
        raise OptionError(f"{where}.{field}", error.problem) from None
    if not (row.is_trained or row.untrained or row.reference or row.tune) and getattr(
        ALGORITHMS.get(config.algorithm.name), "learns", True
    ):
        raise OptionError(
            f"{table.name}.rows.{row.name}.train",
            f"is missing, and {config.algorithm.name} has to be trained; allowed: its options, "
            "for example { num-iterations = 200 }, or untrained = true to measure initial weights",
        )
    for option, values in row.tune.items():
        for value in values:
            algorithm = {**sections["algorithm"], kebab(option): value}
            try:
                configs.parse(_toml({**sections, "algorithm": algorithm}))
            except OptionError as error:
                raise OptionError(f"{where}.tune.{kebab(option)}", error.problem) from None
    return config, measured


def _layers(table: Table, row: Row, column: Column, profile: str) -> Iterator[Mapping[str, Any]]:
    scope = table.profiles[profile]
    yield vars(table)
    yield vars(scope)
    if row.is_trained:
        yield scope.trained
    yield vars(column)
    yield vars(row)
    for overrides, name in (
        (row.overrides, column.name),
        (scope.overrides, row.name),
        (scope.overrides, f"{row.name}/{column.name}"),
    ):
        yield from (layer for pattern, layer in overrides.items() if chosen([pattern], name))


def _lay(section: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Lays options over a section; another name starts it anew, a first one does not."""
    if "name" in section and layer.get("name", section["name"]) != section["name"]:
        section.clear()
    section.update({kebab(name): value for name, value in layer.items()})


def _finetuned(trained: Mapping[str, Any], layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The options of the measurement; back at the trained algorithm's name, those it has."""
    options = dict(trained)
    for layer in layers:
        if layer.get("name") == trained.get("name") != options.get("name"):
            options = dict(trained)
        _lay(options, layer)
    return options


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, section in sections.items():
        inner = {key: one for key, one in section.items() if isinstance(one, dict)}
        plain = {key: one for key, one in section.items() if key not in inner}
        parts = [(name, plain), *((f"{name}.{key}", one) for key, one in inner.items())]
        for header, options in parts:
            lines.append(f"[{header}]")
            lines += [
                f"{configs.toml_value(key)} = {configs.toml_value(value)}"
                for key, value in options.items()
            ]
    return "\n".join(lines)


def _with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    filled = dict(settings)
    registries = {"family": FAMILIES, "algorithm": ALGORITHMS, "finetune": ALGORITHMS}
    for section, registry in registries.items():
        given = settings.get(section)
        if isinstance(given, dict) and given.get("name") in registry:
            filled[section] = {**_defaults(registry.get(given["name"])), **given}
    if "evaluate" in settings:
        filled["evaluate"] = {**_defaults(EvaluateOptions), **settings["evaluate"]}
    return filled


def _defaults(cls: Any) -> dict[str, Any]:
    return _plain(
        {
            kebab(field.name): field.default
            for field in dataclasses.fields(cls)
            if not field.metadata.get("api") and field.default is not dataclasses.MISSING
        }
    )


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def read_records(table: Table, results: pathlib.Path) -> list[dict[str, Any]]:
    """All records of a table, those of settings that it no longer has among them."""
    from metajax.run import records

    return records.read(results / f"{table.name}.jsonl")
