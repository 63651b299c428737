/// A stream client for the addresses of NetAPI, with TLS if its address is secured.
import Glibc
import MillraceTestSupport
import NetAPI

// @unchecked: inherited; `tls` never changes, and has a lock.
final class TestClient: StreamSocket, @unchecked Sendable {
    /// Nil for a connection without TLS.
    let tls: ClientTLS?

    /// `first` is sent before all else, also before TLS.
    init(
        to address: Address, receiveBuffer: CInt? = nil, sendBuffer: CInt? = nil,
        first: [UInt8] = []
    ) throws {
        tls = address.isSecured ? try ClientTLS() : nil
        try super.init(
            to: KernelAddress(address), receiveBuffer: receiveBuffer, sendBuffer: sendBuffer)
        if !first.isEmpty {
            let sent = try first.withUnsafeBytes { try sendPlain($0) }
            guard sent == first.count else { throw SystemFailure("send", EAGAIN) }
        }
        if let tls { try shakeHands(tls) }
    }

    override init(accepted: CInt) {
        tls = nil
        super.init(accepted: accepted)
    }

    // Before `tls` is released, which the end of the stream needs.
    deinit { close() }

    /// The value that the server's `remoteAddress` must have.
    var localText: String { get throws { try addressText(of: descriptor) } }

    private func shakeHands(_ tls: ClientTLS) throws {
        let deadline = Deadline()
        tls.take(UnsafeRawBufferPointer(start: nil, count: 0))
        while !tls.isEstablished {
            _ = try tls.withUnsent(sendPlain)
            switch try receiveRecords(tls, atMost: 65_536) {
            case .bytes: break
            case .nothingYet: try wait(for: POLLIN, deadline, "the handshake")
            case .end(let end): throw EndedEarly(received: 0, expected: 1, end: end)
            }
            if let failure = tls.failure { throw SystemFailure("handshake: \(failure)", EPROTO) }
        }
        _ = try tls.withUnsent(sendPlain)
    }

    /// Records without bytes for the test are no event.
    override func poll(for events: CInt, _ deadline: Deadline) throws -> Bool {
        guard let tls, tls.isEstablished, events == POLLIN else {
            return try super.poll(for: events, deadline)
        }
        while !tls.hasOpened && !tls.hasEnded && tls.failure == nil && tls.seenEnd == nil {
            guard try super.poll(for: events, deadline) else { return false }
            // A socket tells of a reset only once.
            if case .end(let end) = try receiveRecords(tls, atMost: 65_536) { tls.seenEnd = end }
        }
        return true
    }

    // MARK: Sending

    override func sendSome(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        guard let tls else { return try sendPlain(bytes) }
        guard try tls.withUnsent(sendPlain) == 0, !bytes.isEmpty else { return 0 }
        let piece = UnsafeRawBufferPointer(rebasing: bytes.prefix(16_384))
        guard tls.seal(piece) else { throw SystemFailure("seal", EPIPE) }
        _ = try tls.withUnsent(sendPlain)
        return piece.count
    }

    func sendPlain(_ bytes: UnsafeRawBufferPointer) throws -> Int { try super.sendSome(bytes) }

    override func send(_ bytes: [UInt8], chunk: Int = .max) throws {
        try super.send(bytes, chunk: chunk)
        let deadline = Deadline()
        while let tls, try tls.withUnsent(sendPlain) > 0 {
            try wait(for: POLLOUT, deadline, "sent all but the last records")
        }
    }

    override func sendEnd() {
        guard let tls, tls.isEstablished else { return }
        tls.sealEnd()
        _ = try? tls.withUnsent(sendPlain)
    }

    // MARK: Receiving

    override func receiveSome(_ buffer: UnsafeMutableRawBufferPointer) throws -> Reception {
        guard let tls else { return try super.receiveSome(buffer) }
        _ = try? tls.withUnsent(sendPlain)
        while true {
            let count = tls.receive(into: buffer)
            if count > 0 { return .bytes(count) }
            if tls.hasEnded { return .end(.clean) }
            if tls.failure != nil { return .end(.reset(EPROTO)) }
            switch try receiveRecords(tls, atMost: max(4096, buffer.count - 20_000)) {
            case .bytes: continue
            // Without the end of its stream, the end of the connection is a cut.
            case .end(.clean): return .end(.reset(EPROTO))
            case let other: return other
            }
        }
    }

    private func receiveRecords(_ tls: ClientTLS, atMost size: Int) throws -> Reception {
        let sealed = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
        defer { sealed.deallocate() }
        if let end = tls.seenEnd { return .end(end) }
        let reception = try super.receiveSome(sealed)
        guard case .bytes(let count) = reception else { return reception }
        tls.take(UnsafeRawBufferPointer(rebasing: sealed[..<count]))
        return reception
    }
}

extension KernelAddress {
    init(_ address: Address) throws { try self.init(address.description) }
}
