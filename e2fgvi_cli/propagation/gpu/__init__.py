"""Lookups of image propagation on a GPU."""
