"""A local page on which a clip is marked, followed and filled: `e2fgvi ui`."""
