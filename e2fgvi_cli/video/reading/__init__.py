"""Clips in: what a source is, its pictures in order or by number, its shots."""
