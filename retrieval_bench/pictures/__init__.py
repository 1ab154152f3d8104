"""What a person looks at: attention, boxes and ranked results drawn over pictures. Knows NumPy and PIL only."""
