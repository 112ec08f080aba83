"""Scores that can be cited: `e2fgvi evaluate` and `e2fgvi compare`."""
