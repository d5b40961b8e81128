"""Initial weights from files and models."""
