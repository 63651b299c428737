"""The error that ends the program with one line."""


class Failure(Exception):
    pass
