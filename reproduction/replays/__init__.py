"""Methods on real gold data with recorded LLM output."""
