"""What searches have found, in one page."""
