import Glibc
import MillraceEventLoop

/// One end of a simulated TCP stream. The rules are the same for a server and for its peer, so they
/// are written once. Servers often get the effect of close and reset on unread bytes wrong.
package final class Endpoint {
    let local: SocketAddress
    let remote: SocketAddress
    var incoming: BytePipe
    /// The other end; nil once it has been freed. A closed or freed end acts as a host that answers
    /// with resets.
    private(set) weak var other: Endpoint?
    /// Called for new room, bytes, an end or a reset.
    var onChange: (() -> Void)?

    private(set) var isClosed = false
    private(set) var isReset = false
    private(set) var isCut = false
    private(set) var hasSentEnd = false
    /// Bytes that the other end had sent, and that a reset dropped before they were read here.
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

    /// Whether both directions are over.
    var hasHungUp: Bool { isReset || (incoming.isEnded && hasSentEnd) }

    /// Sent bytes that the other end has not read.
    var sendQueue: Int {
        guard let other, !other.isClosed else { return 0 }
        return other.incoming.count
    }

    /// Bytes that a reset would destroy at the other end.
    var unacknowledged: Int {
        guard let other, !other.resetKeepsInput else { return 0 }
        return sendQueue
    }

    /// Bytes that a write at this moment is sure to accept.
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
            // The kernel accepts the bytes, and the other host answers with a reset.
            becomeReset()
            return .taken(bytes.count)
        }
        let taken = other.incoming.append(bytes)
        guard taken > 0 else { return .noRoom }
        other.onChange?()
        return .taken(taken)
    }

    /// Changes the number of unread bytes that this end holds.
    func setCapacity(_ capacity: Int) {
        incoming.capacity = capacity
        other?.onChange?()
    }

    func shutdownWrite() {
        guard !hasSentEnd, !isClosed else { return }
        hasSentEnd = true
        guard !isReset, let other, !other.isClosed else { return }
        other.incoming.isEnded = true
        other.onChange?()
    }

    /// Closes this end. With unread input the close is a reset, even if `reset` is false.
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

    /// Resets both ends, like a network that cuts the connection.
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
        // Linux reports EPIPE if the end was received before the reset (tcp_reset in CLOSE_WAIT).
        pendingError = incoming.isEnded ? EPIPE : ECONNRESET
        onChange?()
    }

    /// Returns a pending error to the first operation that asks. After it, reads return an end and
    /// writes fail with EPIPE.
    func takeError() -> Int32? {
        defer { pendingError = nil }
        return pendingError
    }
}
