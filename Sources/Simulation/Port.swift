import MillraceEventLoop

/// A simulated driver's state of one attached token.
final class Port {
    enum Stream {
        case none
        /// The next completion comes at `readyTime` at the earliest.
        case running(readyTime: Nanoseconds)
        /// The stream continues until `stopTime`.
        case stopping(readyTime: Nanoseconds, stopTime: Nanoseconds)
    }

    enum Send {
        case none
        case waiting(SendMemory, readyTime: Nanoseconds)
        /// The bytes have left, and `sent` is still to come.
        case left(SendMemory, count: Int, answerTime: Nanoseconds)
    }

    enum Work { case stream, stop, send, watch, close }

    let token: Token
    let socket: SimulatedSocket
    var stream = Stream.none
    var send = Send.none
    /// The earliest time at which a hang-up is reported; nil if the socket is not watched.
    var watchTime: Nanoseconds?
    var closeTime: Nanoseconds?
    /// Whether the driver checks this port for work: something may have become possible.
    var isAwake = false

    init(token: Token, socket: SimulatedSocket) {
        self.token = token
        self.socket = socket
    }

    /// Calls `body` when the network has changed the socket.
    func onChange(_ body: @escaping () -> Void) {
        switch socket.kind {
        case .stream(let endpoint): endpoint.onChange = body
        case .listener(let listener): listener.onChange = body
        case .datagrams(let bound): bound.onChange = body
        case .unconnected: break
        }
    }

    var endpoint: Endpoint? {
        if case .stream(let endpoint) = socket.kind { endpoint } else { nil }
    }

    /// The stream that a socket of this kind can have, and its operation.
    var streamKind: (stream: StreamKind, operation: OperationKind) {
        switch socket.kind {
        case .listener: (.accept, .accept)
        case .datagrams: (.datagrams, .datagrams)
        case .stream, .unconnected: (.receive, .receive)
        }
    }

    /// Returns the time at which `work` can be done, by the present state of the network; nil if it
    /// cannot.
    func time(of work: Work) -> Nanoseconds? {
        switch work {
        case .stream:
            switch stream {
            case .none: nil
            case .running(let time), .stopping(let time, _): hasInput ? time : nil
            }
        case .stop:
            if case .stopping(_, let time) = stream { time } else { nil }
        case .send:
            switch send {
            case .none: nil
            case .waiting(_, let time): endpoint?.isWritable ?? true ? time : nil
            case .left(_, _, let time): time
            }
        case .watch: endpoint?.hasHungUp ?? false ? watchTime : nil
        case .close: closeTime
        }
    }

    private static let allWork: [Work] = [.stream, .send, .stop, .watch, .close]

    func dueWork(at now: Nanoseconds) -> [Work] {
        Self.allWork.filter { work in time(of: work).map { $0 <= now } ?? false }
    }

    var nextWorkTime: Nanoseconds? {
        var earliest: Nanoseconds?
        for work in Self.allWork {
            if let time = time(of: work) { earliest = min(earliest ?? time, time) }
        }
        return earliest
    }

    func becomeIdle() {
        stream = .none
        send = .none
        watchTime = nil
        closeTime = nil
    }

    private var hasInput: Bool {
        switch socket.kind {
        case .stream(let endpoint): endpoint.isReadable
        case .listener(let listener): listener.hasWaiting
        case .datagrams(let bound): bound.hasWaiting
        case .unconnected: true
        }
    }
}

/// The loop's memory of a send in flight, with a digest of its bytes at submission.
struct SendMemory {
    let bytes: UnsafeRawBufferPointer
    private let digest: UInt64

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        digest = Self.digest(of: bytes)
    }

    var isUnchanged: Bool { Self.digest(of: bytes) == digest }

    /// FNV-1a over some of the bytes, spread evenly. Memory that is reused changes in more than one
    /// byte, and a long send that leaves in small pieces is checked for each piece.
    private static func digest(of bytes: UnsafeRawBufferPointer) -> UInt64 {
        var digest: UInt64 = 0xCBF2_9CE4_8422_2325
        for offset in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 64)) {
            digest = (digest ^ UInt64(bytes[offset])) &* 0x100_0000_01B3
        }
        return digest
    }
}
