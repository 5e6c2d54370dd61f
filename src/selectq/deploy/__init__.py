"""A trained network to an INT8 program in one go: without DVC, without training."""
