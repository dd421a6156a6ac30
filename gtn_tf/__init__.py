"""Generative Teaching Networks on TensorFlow and Keras."""
