"""Seed to field of view with known cells and known locations."""
