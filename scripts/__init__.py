"""Scripts for the documentation and the tests."""
