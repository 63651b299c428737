/// A driver's state of each token, by slot, in plain memory.
@usableFromInline
package protocol TokenEntry {
    init()
    /// `Token.none` while no descriptor is attached.
    var token: Token { get set }
    var descriptor: CInt { get set }
}

extension TokenEntry {
    @inlinable package var isAttached: Bool { token != .none }
}

/// A table of entries by slot. Entries move when the table grows, so no pointer is kept across an
/// `attach`.
@usableFromInline
package struct TokenTable<Entry: TokenEntry>: ~Copyable {
    @usableFromInline var storage = Self.allocate(capacity: 0)
    @usableFromInline var capacity = 0

    @inlinable package init() {}

    deinit { storage.deallocate() }

    @inlinable
    @inline(__always)
    package func find(_ token: Token) -> UnsafeMutablePointer<Entry>? {
        guard token.slot < capacity else { return nil }
        let entry = storage + Int(token.slot)
        return entry.pointee.token == token ? entry : nil
    }

    @inlinable
    package mutating func attach(_ descriptor: Descriptor, as token: Token) {
        if token.slot >= capacity { grow(toHold: Int(token.slot) + 1) }
        let entry = storage + Int(token.slot)
        precondition(!entry.pointee.isAttached, "a slot was attached twice")
        var fresh = Entry()
        fresh.descriptor = descriptor.number
        fresh.token = token
        entry.pointee = fresh
    }

    @inlinable
    package func detach(_ entry: UnsafeMutablePointer<Entry>) { entry.pointee = Entry() }

    @inlinable
    package func forEachAttached(_ body: (UnsafeMutablePointer<Entry>) -> Void) {
        for slot in 0..<capacity where storage[slot].isAttached { body(storage + slot) }
    }

    @inlinable
    package mutating func removeAll() {
        for slot in 0..<capacity { storage[slot] = Entry() }
    }

    @usableFromInline
    mutating func grow(toHold needed: Int) {
        var size = max(256, capacity)
        while size < needed { size *= 2 }
        let bigger = Self.allocate(capacity: size)
        bigger.moveInitialize(from: storage, count: capacity)
        (bigger + capacity).initialize(repeating: Entry(), count: size - capacity)
        storage.deallocate()
        storage = bigger
        capacity = size
    }

    /// Allocates at the start of a cache line, so that no small entry spans two.
    @usableFromInline
    static func allocate(capacity: Int) -> UnsafeMutablePointer<Entry> {
        UnsafeMutableRawPointer.allocate(
            byteCount: capacity * MemoryLayout<Entry>.stride, alignment: 64
        ).bindMemory(to: Entry.self, capacity: capacity)
    }
}
