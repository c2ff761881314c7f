"""Measurements of methods: reruns of published tables, and the tables of `docs/results.md`."""
