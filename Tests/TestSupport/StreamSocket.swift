/// A plain stream client that blocks, but never longer than the suite's patience.
import Glibc
import Synchronization

/// One thread sends and one receives at a time. A subclass may put a filter between the test's
/// bytes and the socket: it replaces the calls that are `open`.
// @unchecked: a class with subclasses cannot be checked. The number never changes, and the flag is
// atomic.
open class StreamSocket: @unchecked Sendable {
    public let descriptor: CInt
    private let isOpen = Atomic(true)

    /// Connects. A small `receiveBuffer` makes a slow reader; it must be set before connecting.
    public init(
        to address: KernelAddress, receiveBuffer: CInt? = nil, sendBuffer: CInt? = nil
    ) throws {
        descriptor = try address.makeSocket()
        if let receiveBuffer { try setOption(SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        if let sendBuffer { try setOption(SOL_SOCKET, SO_SNDBUF, sendBuffer) }
        if address.family != AF_UNIX { try setOption(CInt(IPPROTO_TCP), TCP_NODELAY, 1) }
        if address.withKernelForm({ connect(descriptor, $0, $1) }) != 0 {
            guard errno == EINPROGRESS else { throw SystemFailure("connect to \(address.text)") }
            guard try pollSocket(for: POLLOUT, Deadline()) else {
                throw Overdue(what: "connect to \(address.text)", limit: patience)
            }
            let error: CInt = try socketOption(descriptor, SOL_SOCKET, SO_ERROR, 0)
            guard error == 0 else { throw SystemFailure("connect to \(address.text)", error) }
        }
    }

    /// The side that the test's own listener has accepted.
    public init(accepted: CInt) { descriptor = accepted }

    deinit { close() }

    public func setOption(_ level: CInt, _ name: CInt, _ value: CInt) throws {
        try setSocketOption(descriptor, level, name, value)
    }

    // MARK: Waiting

    /// True if the events came before `deadline`.
    open func poll(for events: CInt, _ deadline: Deadline) throws -> Bool {
        try pollSocket(for: events, deadline)
    }

    private func pollSocket(for events: CInt, _ deadline: Deadline) throws -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        while true {
            let result = Glibc.poll(&entry, 1, deadline.milliseconds)
            if result > 0 { return true }
            guard result == 0 || errno == EINTR else { throw SystemFailure("poll") }
            if deadline.isPast { return false }
        }
    }

    public func wait(
        for events: CInt, _ deadline: Deadline, _ what: @autoclosure () -> String
    ) throws {
        guard try poll(for: events, deadline) else {
            throw Overdue(what: what(), limit: deadline.limit)
        }
    }

    // MARK: Sending

    /// Sends the bytes that the kernel has room for now; returns 0 if it has none.
    open func sendSome(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        while true {
            let count = Glibc.send(
                descriptor, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL))
            if count >= 0 { return count }
            if errno == EAGAIN { return 0 }
            guard errno == EINTR else { throw SystemFailure("send") }
        }
    }

    /// Sends all bytes, each chunk with a separate send.
    open func send(_ bytes: [UInt8], chunk: Int = .max) throws {
        let deadline = Deadline()
        try bytes.withUnsafeBytes { all in
            var done = 0
            while done < all.count {
                let piece = UnsafeRawBufferPointer(
                    rebasing: all[done..<min(all.count, done &+ min(chunk, all.count))])
                let count = try sendSome(piece)
                if count == 0 {
                    try wait(for: POLLOUT, deadline, "sent \(done) of \(all.count) bytes")
                }
                done += count
            }
        }
    }

    public func send(_ text: String, chunk: Int = .max) throws {
        try send(Array(text.utf8), chunk: chunk)
    }

    /// Sends until the kernel has accepted nothing for `quiet`; returns the number of bytes sent.
    public func push(_ bytes: [UInt8], untilQuietFor quiet: Duration) throws -> Int {
        let deadline = Deadline()
        return try bytes.withUnsafeBytes { all in
            var done = 0
            while done < all.count {
                try deadline.check("pushed \(done) of \(all.count) bytes")
                let count = try sendSome(UnsafeRawBufferPointer(rebasing: all[done...]))
                done += count
                if count == 0, try !poll(for: POLLOUT, Deadline(quiet)) { break }
            }
            return done
        }
    }

    // MARK: Receiving

    /// Reads the bytes that are there.
    open func receiveSome(_ buffer: UnsafeMutableRawBufferPointer) throws -> Reception {
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end(.clean) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .nothingYet
            case ECONNRESET, EPIPE, ETIMEDOUT: return .end(.reset(errno))
            default: throw SystemFailure("recv")
            }
        }
    }

    // MARK: Ending

    /// Called before the stream of bytes to the peer ends.
    open func sendEnd() {}

    public func shutdownWrite() {
        sendEnd()
        shutdown(descriptor, CInt(SHUT_WR))
    }

    public func close() {
        guard isOpen.exchange(false, ordering: .relaxed) else { return }
        sendEnd()
        Glibc.close(descriptor)
    }

    /// Closes with a RST.
    public func reset() {
        guard isOpen.exchange(false, ordering: .relaxed) else { return }
        try? setSocketOption(descriptor, SOL_SOCKET, SO_LINGER, linger(l_onoff: 1, l_linger: 0))
        Glibc.close(descriptor)
    }
}
