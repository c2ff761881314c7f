"""Parts that the backends of chat APIs share."""
