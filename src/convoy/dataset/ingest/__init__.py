"""Images -> a version: scan, splits, layout of the files, writing, statistics, checks."""
