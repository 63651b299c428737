/// The module CLinux of another package.
public enum CLinuxOfAnotherPackage {}
