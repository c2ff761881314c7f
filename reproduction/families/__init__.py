"""Measurements of the paper's task families on real gold data."""
