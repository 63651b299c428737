/// A plain stream client that blocks, but never longer than the suite's patience.
import CMillraceLinux
import Glibc
import MillraceTestSupport
import NetAPI
import Synchronization

/// One thread sends and one receives at a time.
final class TestClient: Sendable {
    let descriptor: CInt
    /// Nil for a connection without TLS.
    let tls: ClientTLS?
    private let isOpen = Atomic(true)

    /// A small `receiveBuffer` makes a slow reader; it must be set before connecting. `first` is
    /// sent before all else, also before TLS.
    init(
        to address: Address, receiveBuffer: CInt? = nil, sendBuffer: CInt? = nil,
        first: [UInt8] = []
    ) throws {
        let target = try ClientAddress(address)
        tls = address.isSecured ? try ClientTLS() : nil
        let type = CInt(MR_SOCK_STREAM | MR_SOCK_CLOEXEC | MR_SOCK_NONBLOCK)
        descriptor = socket(target.family, type, 0)
        guard descriptor >= 0 else { throw SystemFailure("socket") }
        if let receiveBuffer { try setOption(SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        if let sendBuffer { try setOption(SOL_SOCKET, SO_SNDBUF, sendBuffer) }
        if target.family != AF_UNIX {
            try setOption(CInt(MR_IPPROTO_TCP), CInt(MR_TCP_NODELAY), 1)
        }
        if target.withKernelForm({ connect(descriptor, $0, $1) }) != 0 {
            guard errno == EINPROGRESS else { throw SystemFailure("connect to \(address)") }
            try wait(for: POLLOUT, Deadline(), "connect to \(address)")
            let error = try option(SOL_SOCKET, SO_ERROR)
            guard error == 0 else { throw SystemFailure("connect to \(address)", error) }
        }
        if !first.isEmpty {
            let sent = try first.withUnsafeBytes { try sendPlain($0) }
            guard sent == first.count else { throw SystemFailure("send", EAGAIN) }
        }
        if let tls { try shakeHands(tls) }
    }

    /// The side that the test's own listener has accepted.
    init(accepted: CInt) {
        descriptor = accepted
        tls = nil
    }

    deinit { close() }

    func setOption(_ level: CInt, _ name: CInt, _ value: CInt) throws {
        var value = value
        let size = socklen_t(MemoryLayout<CInt>.size)
        guard setsockopt(descriptor, level, name, &value, size) == 0 else {
            throw SystemFailure("setsockopt")
        }
    }

    func option(_ level: CInt, _ name: CInt) throws -> CInt {
        var value: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        guard getsockopt(descriptor, level, name, &value, &size) == 0 else {
            throw SystemFailure("getsockopt")
        }
        return value
    }

    /// The value that the server's `remoteAddress` must have.
    var localText: String { get throws { try addressText(of: descriptor) } }

    /// True if the events came before `deadline`. Records without bytes for the test are none.
    func poll(for events: CInt, _ deadline: Deadline) throws -> Bool {
        guard let tls, tls.isEstablished, events == POLLIN else {
            return try pollSocket(for: events, deadline)
        }
        while !tls.hasOpened && !tls.hasEnded && tls.failure == nil && tls.seenEnd == nil {
            guard try pollSocket(for: events, deadline) else { return false }
            // A socket tells of a reset only once.
            if case .end(let end) = try receiveRecords(tls, atMost: 65_536) { tls.seenEnd = end }
        }
        return true
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

    func wait(for events: CInt, _ deadline: Deadline, _ what: @autoclosure () -> String) throws {
        guard try poll(for: events, deadline) else {
            throw Overdue(what: what(), limit: deadline.limit)
        }
    }

    // MARK: Sending

    /// Sends the bytes that the kernel has room for now; returns 0 if it has none.
    func sendSome(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        guard let tls else { return try sendPlain(bytes) }
        guard try tls.withUnsent(sendPlain) == 0, !bytes.isEmpty else { return 0 }
        let piece = UnsafeRawBufferPointer(rebasing: bytes.prefix(16_384))
        guard tls.seal(piece) else { throw SystemFailure("seal", EPIPE) }
        _ = try tls.withUnsent(sendPlain)
        return piece.count
    }

    func sendPlain(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        while true {
            let flags = CInt(MR_MSG_NOSIGNAL)
            let count = Glibc.send(descriptor, bytes.baseAddress, bytes.count, flags)
            if count >= 0 { return count }
            if errno == EAGAIN { return 0 }
            guard errno == EINTR else { throw SystemFailure("send") }
        }
    }

    /// Sends all bytes, each chunk with a separate send.
    func send(_ bytes: [UInt8], chunk: Int = .max) throws {
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
        while let tls, try tls.withUnsent(sendPlain) > 0 {
            try wait(for: POLLOUT, deadline, "sent all but the last records")
        }
    }

    func send(_ text: String, chunk: Int = .max) throws {
        try send(Array(text.utf8), chunk: chunk)
    }

    /// Sends one byte per segment, like the slowest of peers.
    func drip(_ bytes: [UInt8], every gap: Duration = .microseconds(300)) throws {
        for byte in bytes {
            try send([byte])
            pause(gap)
        }
    }

    // MARK: Ending

    func shutdownWrite() {
        sendEnd()
        Glibc.shutdown(descriptor, CInt(SHUT_WR))
    }

    func close() {
        guard isOpen.exchange(false, ordering: .relaxed) else { return }
        sendEnd()
        Glibc.close(descriptor)
    }

    private func sendEnd() {
        guard let tls, tls.isEstablished else { return }
        tls.sealEnd()
        _ = try? tls.withUnsent(sendPlain)
    }

    /// Closes with a RST.
    func reset() {
        var value = linger(l_onoff: 1, l_linger: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
        if isOpen.exchange(false, ordering: .relaxed) { Glibc.close(descriptor) }
    }
}

extension TestClient {
    /// Sends until the server has closed, which makes a send fail.
    func sendUntilRefused() throws {
        let deadline = Deadline()
        while true {
            try deadline.check("an error from send")
            try send([UInt8](repeating: 1, count: 10_000))
        }
    }
}
