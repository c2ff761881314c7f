"""Prompts: templates that render them and parsers that read what comes back."""
