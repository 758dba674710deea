"""Tables to numbers: the competition metric, agreement of masks, intervals by field."""
