"""The parts of Benchmarks/bench: the loads, the measuring and the reports."""
