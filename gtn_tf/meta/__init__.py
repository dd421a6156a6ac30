"""Meta-learning: the inner loop, the gradient through it, and the outer loop."""
