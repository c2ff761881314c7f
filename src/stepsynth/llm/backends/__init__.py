"""LLM backends, one file each; the file name is the backend's name."""
