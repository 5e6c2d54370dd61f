"""A pipeline of several people: running DVC, sharing results, mending the cache, merging locks."""
