"""The parts of Benchmarks/bench: what is measured, how, and what is told of it."""
