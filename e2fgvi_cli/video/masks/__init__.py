"""Masks in: which picture is which frame's, and the hole of every frame."""
