"""Run folder to the files of other tools, and corrections back."""
