"""What the engine, its store and its backends share: requests, completions, errors, usage."""
