"""`e2fgvi check-env`."""
