"""``python -m metajax`` is ``metajax``."""

from metajax.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
