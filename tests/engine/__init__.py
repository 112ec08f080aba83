"""The engine: torch, no files."""
