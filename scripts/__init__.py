"""Scripts that write pages."""
