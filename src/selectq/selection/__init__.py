"""Which layers get which bits, and which are retrained: scores of every layer, and a choice under budgets."""
