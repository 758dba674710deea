"""``python -m hpacells``: the command ``hpacells``, as ``torchrun -m hpacells`` starts it."""

from hpacells.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
