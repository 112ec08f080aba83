"""What is asked of the operating system: signals, standard streams, files that appear whole. Standard library only."""
