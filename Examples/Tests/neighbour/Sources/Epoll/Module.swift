/// The module Epoll of another package.
public enum EpollOfAnotherPackage {}
