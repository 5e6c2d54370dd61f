"""How long programs take on this machine: the one clock of `selectq bench` and of the benchmarks."""
