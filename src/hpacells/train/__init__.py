"""Crop store and image labels to a model folder; of single cells, only what people corrected."""
