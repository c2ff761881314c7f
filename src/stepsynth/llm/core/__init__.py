"""Types shared by the engine, its store and its backends: requests, completions, errors, usage."""
