"""Description of networks: geometry, costs, text and pictures."""
