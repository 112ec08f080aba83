"""Scripts behind the figures in docs/: `python -m measurements.NAME`, from a checkout. Not installed."""
