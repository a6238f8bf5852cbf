"""The package as a whole: what it exports, and what importing it costs."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import metajax

ROOMS = ("algorithms", "experiments", "inner", "losses", "networks", "outer", "tasks", "zoo")


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_importing_the_package_does_not_import_jax():
    heavy = {"jax", "numpy", "flax", "optax", "gymnax", "matplotlib", "orbax"}
    code = f"import sys, metajax, metajax.cli; print(sorted({heavy!r} & set(sys.modules)))"
    assert _python(code) == "[]"


@pytest.mark.parametrize("name", metajax.__all__)
def test_public_names_resolve(name):
    assert getattr(metajax, name) is not None
    assert name in dir(metajax)


@pytest.mark.parametrize("room", [room for room in ROOMS if room in metajax.__all__])
def test_public_names_of_rooms_resolve(room):
    module = importlib.import_module(f"metajax.{room}")
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no_such_name"):
        metajax.no_such_name  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_version_is_that_of_the_installed_package():
    from importlib.metadata import version

    assert metajax.__version__ == version("metajax")


def test_the_package_says_that_it_is_typed(repository):
    assert (repository / "metajax" / "py.typed").is_file()


def test_constraints_are_exact_and_name_no_index(repository):
    lines = (repository / "constraints.txt").read_text().splitlines()
    for line in lines:
        assert line.startswith("#") or line.partition("==")[2], line
    assert "http" not in "\n".join(lines)


def test_constraints_cover_every_dependency(repository):
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    pinned = {line.partition("==")[0] for line in (repository / "constraints.txt").open()}
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    for requirement in wanted:
        name = requirement.replace("[", ">").partition(">")[0].lower()
        assert name in pinned or name == "metajax"


def test_tests_of_a_group_run_in_one_process(request):
    """They share programs; pytest-xdist marks the group at the end of a test's name."""
    if request.config.getoption("loadgroup", False):
        assert request.node.nodeid.endswith("@test_package")
