"""The quantizer and the network it is put into: fake quantization, ranges, folding, scopes."""
