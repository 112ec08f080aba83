"""What travels through a run: frames, their holes, what is filled, and how it is pasted."""
