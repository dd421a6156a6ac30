"""Networks: layers, learners, generators, and their state as plain tensors."""
