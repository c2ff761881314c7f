"""How fast an endpoint may be asked."""
