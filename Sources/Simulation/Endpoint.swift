import EventLoop
import Glibc

/// One end of a simulated TCP stream. The rules are the same for a server and for its peer, so they
/// are written once: what close and reset do to bytes that nobody has read is what servers get
/// wrong.
package final class Endpoint {
    let local: SocketAddress
    let remote: SocketAddress
    var incoming: BytePipe
    /// Gone once that end is closed, which is then treated as a host that answers with resets.
    private(set) weak var other: Endpoint?
    /// Told of room, bytes, the end or a reset.
    var onChange: (() -> Void)?

    private(set) var isClosed = false
    private(set) var isReset = false
    private(set) var isCut = false
    private(set) var hasSentEnd = false
    /// Bytes that the other end had got rid of and this one will never read.
    private(set) var lostCount = 0
    private let resetKeepsInput: Bool
    private var pendingError: Int32?

    init(
        local: SocketAddress, remote: SocketAddress, capacity: Int, resetKeepsInput: Bool
    ) {
        self.local = local
        self.remote = remote
        self.incoming = BytePipe(capacity: capacity)
        self.resetKeepsInput = resetKeepsInput
    }

    static func join(_ one: Endpoint, _ two: Endpoint) {
        one.other = two
        two.other = one
    }

    enum Reading {
        case bytes([UInt8])
        case nothing
        case end
        case failed(Int32)
    }

    enum Writing {
        case taken(Int)
        case noRoom
        case failed(Int32)
    }

    var isReadable: Bool { incoming.count > 0 || incoming.isEnded || isReset }

    var isWritable: Bool {
        if isReset || hasSentEnd { return true }
        guard let other, !other.isClosed else { return true }
        return other.incoming.room > 0
    }

    /// Both directions are over.
    var hasHungUp: Bool { isReset || (incoming.isEnded && hasSentEnd) }

    /// Bytes that a reset would destroy at the other end.
    var unacknowledged: Int {
        guard let other, !other.isClosed, !other.resetKeepsInput else { return 0 }
        return other.incoming.count
    }

    /// Bytes that a write is sure to be taken, now.
    var room: Int {
        guard !isReset, !hasSentEnd, pendingError == nil, let other, !other.isClosed else {
            return 0
        }
        return other.incoming.room
    }

    func read(atMost limit: Int) -> Reading {
        if incoming.count > 0 {
            let bytes = incoming.take(atMost: limit)
            other?.onChange?()
            return .bytes(bytes)
        }
        if incoming.isEnded { return .end }
        if let error = takeError() { return .failed(error) }
        return isReset ? .end : .nothing
    }

    func write(_ bytes: UnsafeRawBufferPointer) -> Writing {
        if let error = takeError() { return .failed(error) }
        if hasSentEnd || isReset { return .failed(EPIPE) }
        guard let other, !other.isClosed else {
            // The kernel takes them, and the other host's answer is a reset.
            becomeReset()
            return .taken(bytes.count)
        }
        let taken = other.incoming.append(bytes)
        guard taken > 0 else { return .noRoom }
        other.onChange?()
        return .taken(taken)
    }

    func shutdownWrite() {
        guard !hasSentEnd, !isClosed else { return }
        hasSentEnd = true
        guard !isReset, let other, !other.isClosed else { return }
        other.incoming.isEnded = true
        other.onChange?()
    }

    /// Closes; with unread input that is a reset, whatever was asked for.
    func close(reset: Bool) {
        guard !isClosed else { return }
        isClosed = true
        onChange = nil
        guard !isReset, let other, !other.isClosed else { return }
        if reset || incoming.count > 0 {
            other.becomeReset()
        } else {
            other.incoming.isEnded = true
            other.onChange?()
        }
    }

    /// The network's doing: both ends hear of a reset.
    func cut() {
        for end in [self, other].compactMap({ $0 }) where !end.isReset {
            end.isCut = true
            end.becomeReset()
        }
    }

    private func becomeReset() {
        guard !isReset, !isClosed else { return }
        isReset = true
        if !resetKeepsInput {
            lostCount += incoming.count
            incoming = BytePipe(capacity: incoming.capacity)
        }
        // Linux tells EPIPE to who had already been told of the end (tcp_reset in CLOSE_WAIT).
        pendingError = incoming.isEnded ? EPIPE : ECONNRESET
        onChange?()
    }

    /// One operation is told of an error, the first; after it reads end and writes say EPIPE.
    func takeError() -> Int32? {
        defer { pendingError = nil }
        return pendingError
    }
}
