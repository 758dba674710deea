"""Tensors to logits, for training: backbones, bag pooling, losses, export to a model folder."""
