"""Figures, comparison tables and the HTML report."""
