"""The order of measurements: in every round, all servers of a load take turns."""

from runner import ending


def alternating(rounds, cells, arms):
    """Yields the round, from 1, the cell and the arm of each measurement. `arms` returns the arms
    of a cell. Their order is reversed in every second round, because the first arm uses the machine
    in the state that the last round left."""
    for number in range(rounds):
        for cell in cells:
            for arm in (list(arms(cell)) if number % 2 == 0 else reversed(list(arms(cell)))):
                ending.check()
                yield number + 1, cell, arm
