import CLinux
internal import EventLoop

/// What the driver knows of one token: its descriptor, what it waits for, and what the kernel was
/// told.
struct EpollEntry {
    var descriptor: CInt = -1
    var token = Token(slot: 0, generation: 0)
    var isAttached = false
    var isRegistered = false
    /// The last send was short: only the kernel knows when there is room again.
    var isFull = false
    var streams: EpollStreams = []
    /// The events that the registration asks for.
    var interest: UInt32 = 0
    var pendingSend: UnsafeRawBufferPointer?

    var wantedInterest: UInt32 {
        (streams.isEmpty ? 0 : UInt32(MR_EPOLLIN))
            | (pendingSend == nil ? 0 : UInt32(MR_EPOLLOUT))
    }
}

struct EpollStreams: OptionSet {
    let rawValue: UInt8

    static let receive = EpollStreams(rawValue: 1)
    static let accept = EpollStreams(rawValue: 2)

    init(rawValue: UInt8) { self.rawValue = rawValue }

    init(_ kind: StreamKind) { self = kind == .receive ? .receive : .accept }
}

/// Entries by slot, in plain memory. Moved when it grows, so no pointer is kept across an `attach`.
struct EpollEntries: ~Copyable {
    private var storage = UnsafeMutablePointer<EpollEntry>.allocate(capacity: 0)
    private var capacity = 0

    deinit { storage.deallocate() }

    @inline(__always)
    func find(_ token: Token) -> UnsafeMutablePointer<EpollEntry>? {
        guard token.slot < capacity else { return nil }
        let entry = storage + Int(token.slot)
        return entry.pointee.isAttached && entry.pointee.token == token ? entry : nil
    }

    mutating func attach(_ descriptor: CInt, _ token: Token) {
        if token.slot >= capacity { grow(toHold: Int(token.slot) + 1) }
        let entry = storage + Int(token.slot)
        precondition(!entry.pointee.isAttached, "a slot was attached twice")
        entry.pointee = EpollEntry(descriptor: descriptor, token: token, isAttached: true)
    }

    func detach(_ entry: UnsafeMutablePointer<EpollEntry>) { entry.pointee = EpollEntry() }

    func forEachAttached(_ body: (UnsafeMutablePointer<EpollEntry>) -> Void) {
        for slot in 0..<capacity where storage[slot].isAttached { body(storage + slot) }
    }

    mutating func removeAll() {
        for slot in 0..<capacity { storage[slot] = EpollEntry() }
    }

    private mutating func grow(toHold needed: Int) {
        var size = max(256, capacity)
        while size < needed { size *= 2 }
        let bigger = UnsafeMutablePointer<EpollEntry>.allocate(capacity: size)
        bigger.moveInitialize(from: storage, count: capacity)
        (bigger + capacity).initialize(repeating: EpollEntry(), count: size - capacity)
        storage.deallocate()
        storage = bigger
        capacity = size
    }
}
