/// The module CURing of another package.
public enum CURingOfAnotherPackage {}
