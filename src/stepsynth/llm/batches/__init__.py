"""Requests sent in batches through providers' batch APIs."""
