"""Where quantization changes the activations: drift, channel ranges, histograms."""
