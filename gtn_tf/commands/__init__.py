"""One module for each script in bin/, of the same name."""
