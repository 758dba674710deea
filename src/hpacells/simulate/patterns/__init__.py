"""How a protein looks in each of its places: one module per location.

Each module has one public function ``draw(stained, antibody, rng)`` that returns ``(h, w)``
float32 on the cell's box, about 1 where the structure is bright. ``antibody`` starts the same for
every cell of a sample: what is drawn from it first, whatever the cell, is the antibody's look.
``rng`` is the cell's own. A pattern reads the cell's structures and draws no other location.
"""
