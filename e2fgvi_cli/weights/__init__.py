"""Which weights there are, and how to get them. Standard library only."""
