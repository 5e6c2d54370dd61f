"""Post-training quantization as a pipeline of algorithms: a file for each, chosen by name."""
