"""Figures that more than one package uses. Data -> matplotlib figures, without a display."""
