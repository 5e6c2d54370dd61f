"""The FP32 network: its construction, its layer kinds, its weights and checkpoints."""
