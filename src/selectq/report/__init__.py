"""The evidence of a run as the paper's tables, small plot files and one report."""
