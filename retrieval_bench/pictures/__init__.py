"""What a person looks at: drawn over pictures, and results as curves. Knows NumPy, PIL and matplotlib only."""
