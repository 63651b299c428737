/// The module Simulation of another package.
public enum SimulationOfAnotherPackage {}
