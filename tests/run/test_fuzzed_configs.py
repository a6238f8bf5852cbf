"""Configs that nobody would write: each is read, or refused in one short line."""

from __future__ import annotations

import random
import time

import pytest

from metajax.algorithms import ALGORITHMS
from metajax.core.options import OptionError
from metajax.run import catalogue, config
from metajax.tasks import FAMILIES

OPTIONS = {
    one["name"]: {option["name"]: option["default"] for option in one["options"]}
    for entries in catalogue.catalogue().values()
    for one in entries
}


def a_value(draw: random.Random) -> str:
    """A value in TOML, or what looks like one."""
    depth = draw.choice([1, 3, 40, 400, 3000])
    digits = draw.choice([1, 9, 19, 400, 4299, 4301, 9000])
    text = "".join(draw.choices("ab-_. \t'é\u2028😀", k=draw.choice([0, 3, 900])))
    return draw.choice(
        [
            *(
                "true",
                "1.5",
                "-0.0",
                "nan",
                "inf",
                "-inf",
                "1e-400",
                "1e400",
                "1979-05-27",
                "07:32:00",
            ),
            *(
                '"none"',
                '""',
                '"\\u0000"',
                '"a\\nb\\u001b[31m"',
                "none",
                "[]",
                "{}",
                "'",
                '"""',
                "#",
            ),
            *("-1", "0", "1", "2", "0x" + "f" * digits, "-" + "9" * digits, "1" * digits + ".5"),
            *("[" * depth + "]" * depth, "[" * depth, "{a=" * depth + "1" + "}" * depth),
            *("[" + "1," * depth + "]", "[[1, 'x'], {a = 2}]", f'"{text}"', text, "1" * digits),
        ]
    )


def a_key(draw: random.Random, section: str) -> str:
    """The name of an option, or what looks like one."""
    name = draw.choice([*OPTIONS.get(section, {}), "name"])
    long = ["a" * 5000, ".".join("a" * draw.choice([2, 900]))]
    return draw.choice([name] * 6 + [name[1:], "", '""', '"a\\nb"', "name", "family", *long])


def a_line(draw: random.Random, section: str) -> str:
    """An option with its default, or anything."""
    known = OPTIONS.get(section)
    if known and draw.random() < 0.7:
        return " = ".join(draw.choice([*known.items()]))
    return f"{a_key(draw, section)} = {a_value(draw)}"


def a_config(draw: random.Random) -> tuple[str, list[str]]:
    """The text of a config, and overrides."""
    names = {"family": draw.choice(FAMILIES.names()), "algorithm": draw.choice(ALGORITHMS.names())}
    lines = []
    for section in ("family", "algorithm", "train", "evaluate", "evaluate.family"):
        if draw.random() < 0.02:
            continue
        lines.append(f"[{section}]" if draw.random() < 0.97 else f"{section} = {a_value(draw)}")
        if section in names:
            named = f'"{names[section]}"' if draw.random() < 0.95 else a_value(draw)
            lines.append(f"name = {named}")
        for _ in range(draw.choice([0, 0, 1, 2])):
            lines.append(a_line(draw, names.get(section, section)))
    if draw.random() < 0.05:
        lines.append(f"[{a_key(draw, 'train')}]")
    text = "\n".join(lines)
    if draw.random() < 0.1:  # a file that was cut, or mixed up
        at, other = sorted(draw.choices(range(len(text) + 1), k=2))
        text = draw.choice([text[:at], text[:at] + text[other:], text + text[at:other]])
    overrides = [
        f"{draw.choice([*names, 'train', 'evaluate', 'evaluate.family', a_key(draw, 'train')])}."
        f"{a_key(draw, draw.choice(list(OPTIONS)))}={a_value(draw)}"
        for _ in range(draw.choice([0, 0, 0, 1]))
    ]
    return text, overrides


@pytest.mark.parametrize("number", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_every_config_is_read_or_refused_in_one_line(number):
    taken = 0
    for seed in range(number):
        text, overrides = a_config(random.Random(seed))
        began = time.monotonic()
        try:
            parsed = config.parse(text, overrides)
        except OptionError as error:
            message = str(error)
            assert len(message) < 500, (seed, message)
            assert message.isprintable(), (seed, message)
        else:
            taken += 1
            assert config.parse(parsed.to_toml()) == parsed, seed
        assert time.monotonic() - began < 10, seed
    assert 0.05 < taken / number < 0.9  # or the others tell nothing
