/// Memory that is allocated with its first use, for a purpose that a loop may never have.
package struct LazyMemory: ~Copyable {
    private let byteCount: Int
    private var storage: UnsafeMutableRawBufferPointer?

    package init(byteCount: Int) { self.byteCount = byteCount }

    package var memory: UnsafeMutableRawBufferPointer {
        mutating get {
            if let storage { return storage }
            let made = UnsafeMutableRawBufferPointer.allocate(
                byteCount: byteCount, alignment: 4096)
            storage = made
            return made
        }
    }

    deinit { storage?.deallocate() }
}
