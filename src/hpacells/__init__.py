"""hpacells: find every cell in Human Protein Atlas images and say where its protein sits."""

from importlib.metadata import version

__version__ = version("hpacells")

__all__ = ["__version__"]
