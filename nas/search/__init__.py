"""Which architecture is next, and what the search remembers."""
