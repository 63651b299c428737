"""Compares a module's declarations with its record: what was removed, changed and added."""

import collections

from public_api.declarations import DEFAULTED, DEPRECATED, REQUIREMENT, UNAVAILABLE

Comparison = collections.namedtuple("Comparison", "breaks additions")


def compare(before, after):
    """Returns the texts of all breaks and additions between two lists of lines."""
    lost, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    breaks, additions = [], []
    for line in lost:
        path, text = split(line)
        others = [split(one)[1] for one in new if split(one)[0] == path
                  and kind(split(one)[1]) == kind(text)]
        # A type may have several declarations of one path: the best match comes first.
        other = min(others, key=lambda one: not is_harmless(text, one), default=None)
        if other is not None:
            new.remove(f"{path}: {other}")
        if is_harmless(text, other):
            additions.append(f"{path}: {other}" if other else f"{line} (no longer)")
        elif other is None:
            breaks.append(f"removed {line}")
        else:
            breaks.append(f"changed {path}\n    from {text}\n    to   {other}")
    closed = {path for path, text in map(split, before) if is_exhaustive(text)}
    for line in new:
        reason = breaking_addition(line, closed)
        if reason:
            breaks.append(f"added {line}\n    {reason}")
        else:
            additions.append(line)
    return Comparison(breaks, additions)


def split(line):
    path, _, text = line.partition(": ")
    return path, text


def kind(text):
    """Only lines of the same kind are one declaration that was changed."""
    for word in (DEPRECATED, UNAVAILABLE, "conforms to", "inherits from"):
        if text.startswith(word):
            return text if word == "conforms to" else word
    return "declaration"


def is_harmless(before, after):
    """True for a change after which every program still compiles."""
    if before.startswith((DEPRECATED, UNAVAILABLE)):
        return True
    return (after is not None and before.endswith(REQUIREMENT) and after.endswith(DEFAULTED)
            and before.removesuffix(REQUIREMENT) == after.removesuffix(DEFAULTED))


def is_exhaustive(text):
    words = text.split()
    return "enum" in words[:3] and "@nonexhaustive" not in words


def breaking_addition(line, closed):
    """Returns the reason for which an added line may break programs, or None."""
    path, text = split(line)
    if text.endswith(REQUIREMENT):
        return "types that conform have no such member: give it a default"
    if text.startswith(UNAVAILABLE):
        return "programs that use it no longer compile"
    if text.startswith("case ") and parent(path) in closed:
        return "a switch without this case no longer compiles: the enum is exhaustive"
    return None


def parent(path):
    return path.rpartition(".")[0]
