"""Runs in a notebook or a script: ``hpacells.run``, ``hpacells.open_run``."""
