"""What the backends of chat APIs share."""
