import Glibc

/// A connection's unread bytes: fresh ones in the driver's memory, bytes kept from an earlier
/// callback in a ring of its own. An empty buffer owns no memory.
///
/// Memory that a callback may still read is never freed or moved here. `merge` passes the memory
/// that it replaces to a `RetiredBlocks`. Only `settle`, after the callback, copies the driver's
/// bytes.
@usableFromInline
package struct InboundBuffer: ~Copyable {
    @usableFromInline package internal(set) var base: UnsafeMutableRawPointer?
    @usableFromInline package internal(set) var capacity = 0
    @usableFromInline var head = 0
    @usableFromInline package internal(set) var count = 0
    @usableFromInline var searchedStorage: UInt32 = 0
    /// The key of the search that `searched` belongs to.
    package var searchKey: UInt32 = 0
    /// The memory belongs to the driver. Last, so that a record's small fields share its word.
    @usableFromInline package internal(set) var isLent = false
    /// The number of unread bytes that a search has examined without a match; smaller if that
    /// number does not fit.
    package var searched: Int {
        get { Int(searchedStorage) }
        set { searchedStorage = UInt32(clamping: newValue) }
    }

    package init() {}

    static let smallest = 512

    /// The unread bytes before the ring wraps.
    @usableFromInline
    package var front: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base.map { $0 + head }, count: min(count, capacity &- head))
    }

    /// The unread bytes after the wrap, often none.
    package var back: UnsafeRawBufferPointer {
        let first = min(count, capacity - head)
        return UnsafeRawBufferPointer(start: base, count: count - first)
    }

    package var isWrapped: Bool { count > capacity &- head }

    /// Uses fresh bytes in place; only when no bytes are unread.
    @inline(__always)
    package mutating func lend(_ bytes: UnsafeRawBufferPointer) {
        precondition(count == 0 && !isLent, "fresh bytes would hide unread ones")
        if base != nil { release() }
        base = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
        capacity = bytes.count
        head = 0
        count = bytes.count
        isLent = true
    }

    /// Like `lend`, but only for a buffer that owns no memory.
    @inlinable
    @inline(__always)
    mutating func lendFirst(_ bytes: UnsafeRawPointer, _ count: Int) {
        base = UnsafeMutableRawPointer(mutating: bytes)
        capacity = count
        self.count = count
        isLent = true
    }

    /// Returns all unread bytes of the driver's memory and empties the buffer.
    @inlinable
    @inline(__always)
    mutating func takeLent() -> UnsafeRawBufferPointer {
        let bytes = UnsafeRawBufferPointer(start: base.map { $0 + head }, count: count)
        base = nil
        capacity = 0
        head = 0
        count = 0
        searchedStorage = 0
        isLent = false
        return bytes
    }

    /// Copies bytes behind the unread ones. Not inside a callback, which may still read the old
    /// memory.
    package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        precondition(!isLent, "settle before appending")
        guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
        if count + bytes.count > capacity { grow(toHold: count + bytes.count) }
        let end = (head + count) % capacity
        let first = min(bytes.count, capacity - end)
        (base! + end).copyMemory(from: source, byteCount: first)
        base!.copyMemory(from: source + first, byteCount: bytes.count - first)
        count += bytes.count
    }

    /// Drops unread bytes; the memory stays until `settle`.
    @inline(__always)
    package mutating func consume(_ amount: Int) {
        precondition(amount >= 0 && amount <= count, "more consumed than there is")
        count &-= amount
        if searched > 0 { searched = max(0, searched - amount) }
        head &+= amount
        if head >= capacity && !isLent && capacity > 0 { head -= capacity }
    }

    /// Joins the unread bytes in one block. Spans of the old block may be in use, so it goes to
    /// `retired`.
    package mutating func merge(_ retired: inout RetiredBlocks) {
        guard isWrapped, let old = base else { return }
        let block = Self.allocate(capacity)
        let (first, second) = (front, back)
        block.copyMemory(from: first.baseAddress!, byteCount: first.count)
        (block + first.count).copyMemory(from: second.baseAddress!, byteCount: second.count)
        retired.append(old)
        base = block
        head = 0
    }

    /// Called after a callback. Copies unread bytes out of the driver's memory, and frees memory
    /// that is empty or far too large.
    package mutating func settle() {
        if isLent {
            let rest = front
            base = nil
            capacity = 0
            head = 0
            isLent = false
            if count > 0 {
                count = 0
                append(rest)
            }
        } else if count == 0 {
            release()
        } else if capacity > 4 * Swift.max(count, Self.smallest) {
            resize(to: Self.capacity(for: count, from: 0))
        }
    }

    /// Drops all bytes and frees the memory. Not inside a callback.
    package mutating func release() {
        if !isLent { Glibc.free(base) }
        base = nil
        capacity = 0
        head = 0
        count = 0
        searched = 0
        isLent = false
    }

    /// Doubles below 4 KiB, then grows by a quarter.
    static func capacity(for needed: Int, from current: Int) -> Int {
        var size = Swift.max(current, smallest)
        while size < needed { size = size < 4096 ? size * 2 : size + size / 4 }
        return (size + 15) & ~15
    }

    private mutating func grow(toHold needed: Int) {
        resize(to: Self.capacity(for: needed, from: capacity))
    }

    private mutating func resize(to size: Int) {
        if head == 0, !isWrapped, let old = base {
            // For a large block the kernel moves the pages (mremap), so a growing message is not
            // copied for each receive.
            guard let block = realloc(old, size) else { preconditionFailure("out of memory") }
            base = block
            capacity = size
            return
        }
        let block = Self.allocate(size)
        let (first, second) = (front, back)
        if let start = first.baseAddress, !first.isEmpty {
            block.copyMemory(from: start, byteCount: first.count)
        }
        if let start = second.baseAddress, !second.isEmpty {
            (block + first.count).copyMemory(from: start, byteCount: second.count)
        }
        Glibc.free(base)
        base = block
        capacity = size
        head = 0
    }

    /// Uses malloc, since realloc needs it.
    private static func allocate(_ size: Int) -> UnsafeMutableRawPointer {
        guard let block = malloc(size) else { preconditionFailure("out of memory") }
        return block
    }
}

/// Blocks that were replaced inside a callback, freed after its return.
@usableFromInline
package struct RetiredBlocks: ~Copyable {
    @usableFromInline var blocks: [UnsafeMutableRawPointer] = []

    package init() {}

    @inlinable package var isEmpty: Bool { blocks.isEmpty }

    package mutating func append(_ block: UnsafeMutableRawPointer) { blocks.append(block) }

    @usableFromInline
    @inline(never)
    package mutating func free() {
        for block in blocks { Glibc.free(block) }
        blocks.removeAll(keepingCapacity: true)
    }
}
