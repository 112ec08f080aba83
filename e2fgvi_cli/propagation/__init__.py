"""Image propagation: what other frames show of a hole is taken from there, before the network sees the frames."""
