import Glibc

/// Memory that malloc keeps for later. glibc gives back what is free at the end of its heap alone,
/// and between keys that come and go little of it is there.
enum FreeMemory {
    /// Looked up, since Swift's Glibc does not export it and other C libraries have none.
    private static let trim = dlsym(nil, "malloc_trim").map {
        unsafeBitCast($0, to: (@convention(c) @Sendable (Int) -> CInt).self)
    }

    static func giveBack() { _ = trim?(0) }
}
