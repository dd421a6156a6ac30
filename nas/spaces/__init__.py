"""Search spaces and their networks."""
