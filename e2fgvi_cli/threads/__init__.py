"""Hand-offs between threads, and how many threads libraries may start."""
