"""The public atlas to a dataset folder: genes, their entries, their images, and what is known."""
