"""One run: a task file becomes a data set, a trained student and a folder that says how."""
