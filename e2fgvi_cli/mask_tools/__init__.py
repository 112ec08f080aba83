"""Programs that make masks or look at them."""
