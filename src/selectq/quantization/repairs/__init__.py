"""Post-training algorithms, which make quantization lose less without training: each a function, chosen by name."""
