/// A first-in, first-out queue in one growing ring of memory. For the hot path: without the checks
/// of a class's array, and inlined across modules.
@usableFromInline
package struct Fifo<Element>: ~Copyable {
    @usableFromInline var storage: UnsafeMutablePointer<Element>
    @usableFromInline var mask: Int
    @usableFromInline var head = 0
    @usableFromInline package var count = 0

    /// Makes a queue; `capacity` is rounded up to a power of two.
    package init(capacity: Int = 16) {
        var size = 1
        while size < capacity { size <<= 1 }
        storage = .allocate(capacity: size)
        mask = size - 1
    }

    deinit {
        for index in 0..<count { (storage + ((head + index) & mask)).deinitialize(count: 1) }
        storage.deallocate()
    }

    @inlinable package var isEmpty: Bool { count == 0 }

    @inlinable
    package mutating func append(_ element: consuming Element) {
        if count > mask { grow() }
        (storage + ((head + count) & mask)).initialize(to: element)
        count += 1
    }

    @inlinable
    package mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let element = (storage + head).move()
        head = (head + 1) & mask
        count -= 1
        return element
    }

    @usableFromInline
    mutating func grow() {
        let bigger = UnsafeMutablePointer<Element>.allocate(capacity: (mask + 1) * 2)
        for index in 0..<count {
            (bigger + index).moveInitialize(from: storage + ((head + index) & mask), count: 1)
        }
        storage.deallocate()
        storage = bigger
        mask = mask * 2 + 1
        head = 0
    }

}
