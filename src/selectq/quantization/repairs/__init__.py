"""What makes quantization after training lose less, without training: each repair a function, chosen by name."""
