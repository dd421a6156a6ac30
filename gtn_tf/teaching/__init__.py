"""Exported teachers, and the Keras models that they teach."""
