"""Task families: what a trial can be about.

Every family is a frozen dataclass of options in a file of its own, with
``build() -> TaskFamily``, and one line in ``FAMILIES``. Importing them costs
nothing: JAX and gymnax are imported by ``build``, after the options are checked.
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
        "gridnavi": "metajax.tasks.grid.gridnavi:GridNavi",
        "key-door": "metajax.tasks.grid.key_door:KeyDoor",
        "meta-maze": "metajax.tasks.grid.meta_maze:MetaMaze",
        "pendulum": "metajax.tasks.control.pendulum:Pendulum",
        "point-navigation": "metajax.tasks.plane.point_navigation:PointNavigation",
        "quadratics": "metajax.tasks.supervised.quadratics:Quadratics",
        "sinusoid": "metajax.tasks.supervised.sinusoid:Sinusoid",
        "sparse-point-robot": "metajax.tasks.plane.sparse_point_robot:SparsePointRobot",
        "tabular-mdp": "metajax.tasks.tabular.tabular_mdp:TabularMdp",
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
    """The family of that name.

    Args:
      name: one of ``metajax.tasks.list()``.
      **options: fields of the family's options, for example
        ``make("cartpole", mirrored=True)``.

    Returns:
      the ``TaskFamily``, or the ``DataFamily`` for labelled examples.

    Raises:
      OptionError: a ``ValueError`` that names the family or option that is
        unknown or impossible, and what is allowed.
    """
    return build(FAMILIES.get(name), options, where="family").build()


def list() -> builtins.list[str]:
    """Names of all families that ``make`` knows."""
    return [*FAMILIES.names()]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> builtins.list[str]:
    return sorted({*globals(), *_LAZY})
