"""Training layers as compiled code for the CPU: the same results as the plain modules, faster."""
