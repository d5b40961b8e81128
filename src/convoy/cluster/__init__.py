"""Spark sessions, and checks of the machines of a cluster."""
