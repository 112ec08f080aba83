"""How each platform's loader finds libraries and symbols, replayed on files without loading them."""
