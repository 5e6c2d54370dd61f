"""Learning: schedules, one loop for FP32 and QAT, resuming, evaluation."""
