"""Crop store and image labels to a model folder; nothing here looks at labels of single cells."""
