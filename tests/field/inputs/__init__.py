"""Small generated inputs of the kinds that users have; a function is named after the kind that it writes."""
