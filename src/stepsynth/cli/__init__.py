"""The command line: one command a file. Results go to stdout, everything else to stderr."""
