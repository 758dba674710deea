"""Words that every stage shares: stains, locations, fields, masks, tables, errors."""
