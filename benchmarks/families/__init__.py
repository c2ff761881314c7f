"""The task families of the paper on real gold data, measured."""
