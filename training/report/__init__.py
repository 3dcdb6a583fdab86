"""The run report: one HTML file that needs no network and no JavaScript. Imports neither Keras nor TensorFlow."""

from .comparison import compare
from .page import write

__all__ = ["compare", "write"]
