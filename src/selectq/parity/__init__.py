"""Whether a network gives the same predictions in every backend."""
