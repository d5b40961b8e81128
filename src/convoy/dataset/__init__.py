"""Images -> a versioned Petastorm dataset -> batches."""
