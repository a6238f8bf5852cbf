"""What every test runs under, and the fixtures that they share.

Set before jax is first imported: the CPU, with two host devices so that tasks are spread
over devices as the command line does it; quick compilation, since most programs here run
once; and compiled programs kept between runs, in the cache directory of the user. Tests that
train (``-m slow``) are compiled as users compile. Where a case of a test has quicker ones of
its kind beside it, it may be a ``further`` one, which ``make test`` leaves out as it does those;
so may a check of whole documents.
"""

from __future__ import annotations

import gc
import os
import pathlib
import platform
from collections.abc import Iterator

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def _user_cache() -> str:
    """The cache directory of the user; "" for a user without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    found = given if os.path.isabs(given) else os.path.expanduser("~/.cache")
    return found if os.path.isabs(found) else ""


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"] = "0"  # lines of source in each program
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
if cache := _user_cache():
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(cache, "metajax", "jax"))

# Tracing allocates much that lives on, which frequent collections look through in vain.
gc.set_threshold(100_000, 50, 50)

import jax  # noqa: E402
import pytest  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pin", action="store_true", help="write tests/core/pinned_numbers.json anew (without -n)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Quick compilation, with the older emitters of XLA and programs in one piece.

    Those emitters leave it to the shape of a program which products and sums become one
    instruction with one rounding, so they are kept from the instructions that do.
    """
    if config.getoption("markexpr") != "slow" and platform.machine() in ("x86_64", "AMD64"):
        quick = "--xla_cpu_use_fusion_emitters=false --xla_cpu_max_isa=AVX"
        whole = "--xla_cpu_parallel_codegen_split_count=1"
        os.environ["XLA_FLAGS"] = f"{os.environ['XLA_FLAGS']} {quick} {whole}"


@pytest.hookimpl(tryfirst=True)  # before the workers read the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fixtures and programs are those of a module, so its tests run in one process.

    Tests of one algorithm in several modules name it as their group. The modules of this
    directory have few tests that take long, with which no process should be left alone at last.
    """
    items.sort(key=lambda item: item.path.parent != pathlib.Path(__file__).parent)
    for item in items:
        if not any(item.iter_markers("xdist_group")):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Drops compiled programs between groups, before there are too many.

    Each keeps a few regions of memory mapped, of which Linux allows a process 65,530.
    Where they run out, compiling ends in a segmentation fault.
    """
    if nextitem is None or _group(nextitem) == _group(item):
        return
    regions = pathlib.Path("/proc/self/maps")
    if regions.exists() and regions.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
        gc.collect()


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    assert marker is not None
    return marker.args[0]


@pytest.fixture(autouse=True)
def optimized(request: pytest.FixtureRequest) -> Iterator[None]:
    """The compiler's optimizations, for tests that train: their programs run for long."""
    if not request.node.get_closest_marker("slow"):
        yield
        return
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def repository() -> pathlib.Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture
def key() -> jax.Array:
    """A random key."""
    return jax.random.key(0)


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 inside one test."""
    with jax.enable_x64(True):
        yield
