"""Why quantization costs accuracy: drift by layer, its causes, integers used, and the flaws an experiment may have."""
