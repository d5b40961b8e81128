"""Networks that Convoy did not train."""
