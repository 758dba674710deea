"""Segmenters that others published, behind the contract of ``segment.registry``."""
