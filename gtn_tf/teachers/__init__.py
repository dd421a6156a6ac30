"""Teachers: what a learner is trained on."""
