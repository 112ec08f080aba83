"""Image files: what they are, whether they are whole, and their pictures by number."""
