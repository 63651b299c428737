/// The module EventLoop of another package.
public enum EventLoopOfAnotherPackage {}
