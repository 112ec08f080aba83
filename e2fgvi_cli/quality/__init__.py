"""How good a fill is: measures, simple fills to compare with, and clips laid out for measuring."""
