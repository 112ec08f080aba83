"""Pages of evaluations and of runs."""
