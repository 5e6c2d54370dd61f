"""From the fake-quantized network to the integer program, and running that program."""
