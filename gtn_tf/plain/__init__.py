"""An outer step written out in TensorFlow, PyTorch and JAX, without this library."""
