/// The module Uring of another package.
public enum UringOfAnotherPackage {}
