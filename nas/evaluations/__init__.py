"""What an architecture is worth, by training or by less."""
