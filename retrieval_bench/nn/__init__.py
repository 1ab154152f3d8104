"""Building blocks: backbones cut at named taps, pooling, attention. Knows torch and torchvision, nothing of data."""
