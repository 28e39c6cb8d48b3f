"""Floor 4: the command line, and what is shown on a terminal."""
