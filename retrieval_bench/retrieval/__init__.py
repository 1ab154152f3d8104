"""Descriptors, exact search, protocols and metrics. Knows torch and NumPy, nothing of Lightning or images."""
