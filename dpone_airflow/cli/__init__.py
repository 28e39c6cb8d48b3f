"""Floor 4: what is shown on a terminal."""
