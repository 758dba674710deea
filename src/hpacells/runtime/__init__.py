"""Model folders and the sessions that run them on a CPU; what becomes of their logits."""
