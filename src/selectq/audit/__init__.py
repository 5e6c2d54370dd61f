"""Which flaw of an experiment gives numbers like the paper's: flaws, one at a time or together, and what each costs."""
