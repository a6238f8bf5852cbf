"""The optional dependency pandas."""

import importlib
from typing import Any

from metajax.core.options import OptionError


def pandas() -> Any:
    """The module ``pandas``.

    Raises:
      OptionError: If it is not installed.
    """
    try:
        return importlib.import_module("pandas")
    except ImportError:
        problem = "is needed for a frame and not installed; make install EXTRAS=pandas"
        raise OptionError("pandas", problem) from None
