"""selectq: which layers of a network must be retrained for INT8, and the result, shipped."""
