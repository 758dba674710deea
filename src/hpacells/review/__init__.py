"""Run folder to a local web page where experts judge cells; their words go back to ``train``."""
