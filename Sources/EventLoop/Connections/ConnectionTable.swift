/// The slots of a loop and their connections. Each new use of a slot has the next generation. Slots
/// are reused first in, first out, so that a generation repeats as late as possible.
@usableFromInline
package struct ConnectionTable: ~Copyable {
    /// The address of each run of `RecordChunks.size` slots.
    @usableFromInline var directory: UnsafeMutablePointer<ConnectionReference>
    @usableFromInline var capacity = 0
    private var vacant = Fifo<UInt32>(capacity: RecordChunks.size)
    /// The number of slots in use.
    private(set) var count = 0
    /// The most slots, in whole chunks.
    var limit = Int(Token.slotLimit)
    /// Set once, right after the loop that owns this table exists.
    var loop: Unmanaged<Loop>?

    init() {
        directory = .allocate(capacity: 0)
    }

    deinit {
        for index in 0..<capacity / RecordChunks.size { RecordChunks.give(directory[index]) }
        directory.deallocate()
    }

    @inlinable
    @inline(__always)
    func record(_ slot: UInt32) -> ConnectionReference {
        directory[Int(slot) / RecordChunks.size] + Int(slot) % RecordChunks.size
    }

    /// Returns the record that `token` names, or nil if it names an earlier use.
    @inlinable
    @inline(__always)
    func find(_ token: Token) -> ConnectionReference? {
        guard token.slot < capacity else { return nil }
        let record = record(token.slot)
        // A vacant slot already has the token of its next use, which no caller knows yet.
        return record.token == token ? record : nil
    }

    /// Starts a new use of a slot; nil when all slots are in use.
    mutating func allocate() -> ConnectionReference? {
        if vacant.isEmpty && !grow() { return nil }
        guard let slot = vacant.popFirst() else { return nil }
        count += 1
        return record(slot)
    }

    /// Ends the use of a slot: its token finds no record from now on.
    mutating func release(_ record: ConnectionReference) {
        precondition(record.state != .free, "a slot was freed twice")
        let token = record.token
        record.pointee = ConnectionRecord(loop: record.loop, token: token.next)
        record.rest.pointee = ConnectionRecord.Rest()
        count -= 1
        vacant.append(token.slot)
    }

    /// Returns the tokens of the selected slots in use. The caller may free and allocate slots
    /// while it iterates over them.
    func tokens(where isWanted: (borrowing ConnectionRecord) -> Bool) -> [Token] {
        (0..<UInt32(capacity)).compactMap { slot in
            let record = record(slot)
            guard record.state != .free, isWanted(record.pointee) else { return nil }
            return record.token
        }
    }

    private mutating func grow() -> Bool {
        guard capacity + RecordChunks.size <= limit else { return false }
        guard let loop else { preconditionFailure("a table without its loop") }
        let used = capacity / RecordChunks.size
        let bigger = UnsafeMutablePointer<ConnectionReference>.allocate(capacity: used + 1)
        bigger.moveInitialize(from: directory, count: used)
        directory.deallocate()
        directory = bigger
        let chunk = RecordChunks.take(loop: loop, firstSlot: UInt32(capacity))
        (directory + used).initialize(to: chunk)
        for index in 0..<RecordChunks.size {
            vacant.append(UInt32(capacity + index))
        }
        capacity += RecordChunks.size
        return true
    }
}

/// Memory for records, shared by all loops of the process and never freed: see `ConnectionRecord`.
///
/// A chunk is an array of records, and behind it one of their `Rest`s in the same order. Its first
/// slot is a multiple of `size`.
@usableFromInline
enum RecordChunks {
    @inlinable static var size: Int { 256 }
    private static let free = Monitor<[UInt]>([])

    static func take(loop: Unmanaged<Loop>, firstSlot: UInt32) -> ConnectionReference {
        let used = free.withLock { $0.popLast() }.flatMap { ConnectionReference(bitPattern: $0) }
        let chunk = used ?? allocate()
        for index in 0..<size {
            let generation = used == nil ? 0 : chunk[index].token.generation &+ 1
            let token = Token(slot: firstSlot + UInt32(index), generation: generation)
            (chunk + index).initialize(to: ConnectionRecord(loop: loop, token: token))
            (chunk + index).rest.initialize(to: ConnectionRecord.Rest())
        }
        return chunk
    }

    /// Allocates at the start of a cache line: see `ConnectionRecord`.
    private static func allocate() -> ConnectionReference {
        let chunk = UnsafeMutableRawPointer.allocate(
            byteCount: size * (recordStride + restStride), alignment: 64)
        (chunk + size * recordStride).bindMemory(to: ConnectionRecord.Rest.self, capacity: size)
        return chunk.bindMemory(to: ConnectionRecord.self, capacity: size)
    }

    private static var recordStride: Int { MemoryLayout<ConnectionRecord>.stride }
    private static var restStride: Int { MemoryLayout<ConnectionRecord.Rest>.stride }

    /// Returns the other fields of a record in a chunk.
    @inline(__always)
    static func rest(
        of record: ConnectionReference
    ) -> UnsafeMutablePointer<ConnectionRecord.Rest> {
        let index = Int(record.token.slot) % size
        // From one record to the next, the distance shrinks by the difference of the strides.
        let distance = size * recordStride - index * (recordStride - restStride)
        return (UnsafeMutableRawPointer(record) + distance)
            .assumingMemoryBound(to: ConnectionRecord.Rest.self)
    }

    static func give(_ chunk: ConnectionReference) {
        free.withLock { $0.append(UInt(bitPattern: chunk)) }
    }
}
