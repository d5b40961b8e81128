"""Published architectures, and the table that lists them."""
