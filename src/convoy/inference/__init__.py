"""Images -> predictions, on Spark's workers."""
