"""The parts of the documentation site that are generated, which need no MkDocs."""

from __future__ import annotations

import pathlib
import sys

import pytest

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.tasks import FAMILIES

DOCS = pathlib.Path(__file__).parents[1] / "docs"
# Of each pair of tables one number of the row of the algorithm, and one of another row.
MEASURED = {"reptile": ("-12.35 ± 0.46", "-12.37 ± 0.45"), "ucb1": ("UCB1", "Gittins")}


@pytest.fixture(scope="module")
def generated():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS / "site"))
        import generated as module  # pyright: ignore[reportMissingImports]

        yield module
    del sys.modules["generated"]


def test_every_algorithm_has_a_page_with_an_equation_and_no_page_is_left_over():
    pages = {path.stem: path.read_text("utf-8") for path in (DOCS / "algorithms").glob("*.md")}
    assert set(pages) == set(ALGORITHMS.names())
    for name, text in pages.items():
        assert text.startswith(f"# {name}\n")
        assert text.count("$$") >= 2, name
        assert text.count("$$") % 2 == 0, name


@pytest.mark.parametrize("name", MEASURED)
def test_a_page_has_the_rows_of_its_algorithm_alone(generated, name):
    page = generated.algorithm(name, f"# {name}\n")
    mine, other = MEASURED[name]
    assert mine in page
    assert other not in page


def test_what_no_table_has_is_not_measured_yet(generated):
    for name in ("lpg", "meta-q-learning"):  # the second has a row without a number
        assert "Not measured yet." in generated.algorithm(name, f"# {name}\n")


def test_a_page_shows_source_configs_and_every_option(generated):
    page = generated.algorithm("reptile", "# reptile\n\nWords.\n")
    assert "\nWords.\n" in page
    assert "Nichol et al. (2018)" in page
    assert "metajax train configs/reptile-dqn" not in page
    assert "metajax train configs/reptile-point-navigation.toml" in page
    assert "| `learning-rate` | `0.1` | a number, at least 0 |" in page


def test_all_but_the_random_policy_have_a_source(generated):
    without = [one for one in ALGORITHMS.names() if not generated._source(ALGORITHMS.get(one))]
    assert without == ["random"]


def test_another_title_is_refused(generated):
    with pytest.raises(ValueError, match="begins with '# MAML'"):
        generated.algorithm("maml", "# MAML\n")


def test_every_name_has_a_kind(generated):
    for registry in (ALGORITHMS, FAMILIES):
        named = [one for names in generated.by_kind(registry).values() for one in names]
        assert sorted(named) == list(registry.names())


def test_the_reference_has_every_public_name(generated):
    pages = generated.reference()
    for name, home in metajax._HOME.items():
        assert f"::: {home}.{name}\n" in pages["reference/index.md"]
    for room in metajax._ROOMS:
        assert pages[f"reference/{room}.md"].count("\n::: ") == len(generated.public(room))


def test_what_a_page_loads_from_another_host_is_found(generated):
    other = "//fonts.example/one"
    bad = (
        f'<script src="https:{other}.js">',
        f'<link rel="stylesheet" href="{other}">',
        f"<img alt='' src=http:{other}>",
        f"a {{ background: url(https:{other}) }}",
        f'@import "https:{other}";',
    )
    assert all(generated.loaded(one) for one in bad)
    good = f'<a href="https:{other}">x</a> <img src="images/a.png"> <p>https:{other}</p>'
    assert not generated.loaded(good)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gridnavi", "An oracle demonstrates. Expected return of an episode: random -1.1"),
        ("pendulum", "No oracle demonstrates."),
        ("sinusoid", "The best predictor that sees the support set is not known."),
        ("image-folder", ""),
    ],
)
def test_the_facts_of_a_family(generated, name, said):
    assert said in generated._facts(name)
