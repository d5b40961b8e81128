"""Runs of a tracking store: listed, shown, compared, and trained again."""
