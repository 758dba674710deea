"""Field and masks to cell crops of one physical size, and the store that holds them on disk."""
