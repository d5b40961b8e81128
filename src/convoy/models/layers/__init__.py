"""Building blocks of networks, and custom layers."""
