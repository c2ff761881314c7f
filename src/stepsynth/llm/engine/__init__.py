"""The engine: store, caps, retries and order around backends that send one request."""
