"""A PyTorch Lightning benchmark suite for image retrieval."""

__version__ = "0.1.0"
