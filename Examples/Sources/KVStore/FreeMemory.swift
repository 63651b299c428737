import Glibc

/// Free memory that malloc keeps. By itself, glibc returns only the free memory at the end of its
/// heap. Between keys that come and go, little of it is there.
enum FreeMemory {
    /// The function malloc_trim, found by dlsym: Swift's Glibc does not export it, and other C
    /// libraries do not have it.
    private static let trim = dlsym(nil, "malloc_trim").map {
        unsafeBitCast($0, to: (@convention(c) @Sendable (Int) -> CInt).self)
    }

    static func giveBack() { _ = trim?(0) }
}
