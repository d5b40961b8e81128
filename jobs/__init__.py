"""The jobs: each file parses, wires and calls. Installed as ``convoy.jobs``; run as ``python jobs/<job>.py``."""
