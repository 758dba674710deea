"""A field of view to matched masks of cells and nuclei, and what is measured of each cell."""
