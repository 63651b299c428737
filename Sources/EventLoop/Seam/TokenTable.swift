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
    /// The number of initialized entries.
    @usableFromInline var capacity = 0
    /// The number of entries that `storage` has memory for.
    @usableFromInline var room = 0

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
        if needed > room { reallocate(toHold: needed) }
        // Memory that nothing was written to is not resident, so only few more than needed.
        let size = min(room, ((needed - 1) | 255) + 1)
        (storage + capacity).initialize(repeating: Entry(), count: size - capacity)
        capacity = size
    }

    private mutating func reallocate(toHold needed: Int) {
        room = max(256, room)
        while room < needed { room *= 2 }
        let bigger = Self.allocate(capacity: room)
        bigger.moveInitialize(from: storage, count: capacity)
        storage.deallocate()
        storage = bigger
    }

    /// Allocates at the start of a cache line, so that no small entry spans two.
    @usableFromInline
    static func allocate(capacity: Int) -> UnsafeMutablePointer<Entry> {
        UnsafeMutableRawPointer.allocate(
            byteCount: capacity * MemoryLayout<Entry>.stride, alignment: 64
        ).bindMemory(to: Entry.self, capacity: capacity)
    }
}
