"""Run folder to cell-to-cell differences: spatial and intensity variation, apart."""
