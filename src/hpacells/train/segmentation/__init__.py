"""Simulated fields with true masks to the weights of the ``unet`` segmenter."""
