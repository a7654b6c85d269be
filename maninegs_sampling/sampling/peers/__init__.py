"""Batch samplers of other papers, and the uniform one that they are measured against."""
