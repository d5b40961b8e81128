"""Several trainings that differ in a few fields: their configurations, and what compares them."""
