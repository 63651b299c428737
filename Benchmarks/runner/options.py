"""Kinds of values on the command line."""

import argparse


def names(allowed):
    def parse(text):
        found = [word.strip() for word in text.split(",")]
        if unknown := [word for word in found if word not in allowed]:
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown)}: one or more of {', '.join(allowed)}")
        return found
    return parse


def counts(most):
    def parse(text):
        found = [int(word) for word in text.split(",") if word.strip().isdecimal()]
        if not found or min(found) < 1 or max(found) > most:
            raise argparse.ArgumentTypeError(f"'{text}': numbers from 1 to {most}, with commas")
        return found
    return parse
