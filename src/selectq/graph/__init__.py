"""A network as typed nodes with edges: captured from PyTorch, sorted into kinds and blocks."""
