"""Whether a network gives the same answers in every form that it takes."""
