"""Where scores go: a folder of Parquet files, a table, a stream. All return the rows that were added."""
