"""Files to fields of view: which files belong together, what is known of them, their pixels."""
