"""How a protein looks in each of its places: one function per location.

A pattern takes a stained cell and a generator and returns ``(h, w)`` float32 on the cell's box,
about 1 where the structure is bright. It reads the cell's own structures and draws nothing that
its location does not name.
"""
