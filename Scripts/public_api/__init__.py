"""The public declarations of the library's modules, and their comparison with a record."""
