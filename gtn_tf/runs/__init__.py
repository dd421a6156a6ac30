"""Runs: a configuration, its folder, and one meta-training in it."""
