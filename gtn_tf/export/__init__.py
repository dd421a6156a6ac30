"""What others can use of a run."""
