"""How good a model is on a split, exactly."""
