"""Task families, by name.

Each family is a frozen dataclass of options with ``build() -> TaskFamily``, in its own
file, and one line in ``FAMILIES``. Importing this package is cheap: only ``build`` imports
JAX and gymnax, after the options have been checked.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from metajax.core.options import build
from metajax.core.registry import Registry

if TYPE_CHECKING:
    from metajax.tasks.adapters.gymnax import default_params as default_params
    from metajax.tasks.adapters.gymnax import from_gymnax as from_gymnax
    from metajax.tasks.auto_reset import with_auto_reset as with_auto_reset
    from metajax.tasks.mixtures import mixture as mixture

__all__ = [
    "FAMILIES",
    "default_params",
    "from_gymnax",
    "list",
    "make",
    "mixture",
    "with_auto_reset",
]

FAMILIES = Registry(
    "family",
    {
        "bernoulli-bandit": "metajax.tasks.bandits.bernoulli_bandit:BernoulliBandit",
        "cartpole": "metajax.tasks.control.cartpole:CartPole",
        "catch": "metajax.tasks.control.catch:Catch",
        "dark-room": "metajax.tasks.grid.dark_room:DarkRoom",
        "deep-sea": "metajax.tasks.tabular.deep_sea:DeepSea",
        "dependent-bandit": "metajax.tasks.bandits.dependent_bandit:DependentBandit",
        "eleven-armed-bandit": "metajax.tasks.bandits.eleven_armed_bandit:ElevenArmedBandit",
        "four-rooms": "metajax.tasks.grid.four_rooms:FourRooms",
        "gaussian-bandit": "metajax.tasks.bandits.gaussian_bandit:GaussianBandit",
        "gaussian-blobs": "metajax.tasks.supervised.gaussian_blobs:GaussianBlobs",
        "glyphs": "metajax.tasks.supervised.glyphs:Glyphs",
        "grid-worlds": "metajax.tasks.grid.grid_worlds:GridWorlds",
        "gridnavi": "metajax.tasks.grid.gridnavi:GridNavi",
        "image-folder": "metajax.tasks.supervised.image_folder:ImageFolder",
        "key-door": "metajax.tasks.grid.key_door:KeyDoor",
        "linear-regression": "metajax.tasks.supervised.linear_regression:LinearRegression",
        "meta-maze": "metajax.tasks.grid.meta_maze:MetaMaze",
        "pendulum": "metajax.tasks.control.pendulum:Pendulum",
        "point-navigation": "metajax.tasks.plane.point_navigation:PointNavigation",
        "quadratics": "metajax.tasks.supervised.quadratics:Quadratics",
        "sinusoid": "metajax.tasks.supervised.sinusoid:Sinusoid",
        "sparse-point-robot": "metajax.tasks.plane.sparse_point_robot:SparsePointRobot",
        "tabular-mdp": "metajax.tasks.tabular.tabular_mdp:TabularMdp",
        "teacher-network": "metajax.tasks.supervised.teacher_network:TeacherNetwork",
        "two-colours": "metajax.tasks.grid.two_colours:TwoColours",
        "two-step": "metajax.tasks.tabular.two_step:TwoStep",
        "xu-chain": "metajax.tasks.tabular.xu_chain:XuChain",
    },
)

_LAZY = {
    "default_params": "adapters.gymnax",
    "from_gymnax": "adapters.gymnax",
    "mixture": "mixtures",
    "with_auto_reset": "auto_reset",
}


def make(name: str, **options: Any) -> Any:
    """The family registered as ``name``.

    Args:
      name: One of ``metajax.tasks.list()``.
      **options: Options of the family, for example ``make("cartpole", mirrored=True)``;
        ``metajax list NAME`` prints them with their defaults.

    Raises:
      OptionError: A ``ValueError`` for an unknown family, an unknown option, or a value
        out of range; it names the option and what is allowed.
    """
    return build(FAMILIES.get(name), options, where="family").build()


def list() -> builtins.list[str]:
    """Names that ``make`` accepts, sorted."""
    return [*FAMILIES.names()]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> builtins.list[str]:
    return sorted({*globals(), *_LAZY})
