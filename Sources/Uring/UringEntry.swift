internal import EventLoop

/// What the driver knows of one token: its descriptor, and which operations the kernel still has.
/// Four fit into a cache line.
struct UringEntry: TokenEntry {
    var token = Token.none
    var descriptor: CInt = -1
    var state: UringState = []
    var sendError = SendError()
}

struct UringState: OptionSet {
    let rawValue: UInt16

    /// The loop has asked for this stream and not heard its last word.
    static let receiving = UringState(rawValue: 1 << 0)
    static let accepting = UringState(rawValue: 1 << 1)
    /// The kernel has the multishot operation: its terminal completion is still to come.
    static let receiveArmed = UringState(rawValue: 1 << 2)
    /// Readiness to receive or to accept is polled for.
    static let pollArmed = UringState(rawValue: 1 << 3)
    static let sendArmed = UringState(rawValue: 1 << 4)
    /// The loop has asked for the stream's end.
    static let stopping = UringState(rawValue: 1 << 5)
    /// Wants to receive, but there was no buffer; waits in the queue of those.
    static let starved = UringState(rawValue: 1 << 6)
    /// Closes when the kernel has nothing more of it.
    static let closing = UringState(rawValue: 1 << 7)

    static let receivingDatagrams = UringState(rawValue: 1 << 8)
    static let datagramsArmed = UringState(rawValue: 1 << 9)
    static let connectArmed = UringState(rawValue: 1 << 10)
    /// The loop waits for a hang-up.
    static let watched = UringState(rawValue: 1 << 11)
    /// Hang-ups are polled for.
    static let watchArmed = UringState(rawValue: 1 << 12)
    /// A try to receive or to accept is queued.
    static let tryQueued = UringState(rawValue: 1 << 13)
    /// A short receive leaves something behind: an end, an error or urgent data.
    static let untilEmpty = UringState(rawValue: 1 << 14)
    /// A Unix socket, whose receives are also short where descriptors were passed.
    static let isUnix = UringState(rawValue: 1 << 15)

    static let inFlight: UringState = [
        .receiveArmed, .pollArmed, .sendArmed, .datagramsArmed, .connectArmed, .watchArmed,
    ]

    /// The loop wants this stream.
    static func running(_ kind: StreamKind) -> UringState {
        switch kind {
        case .receive: .receiving
        case .accept: .accepting
        case .datagrams: .receivingDatagrams
        }
    }

    /// The kernel has an operation that ends only when it is cancelled. A poll does not count: what
    /// it reports can be ignored.
    static func armed(_ kind: StreamKind) -> UringState {
        switch kind {
        case .receive: .receiveArmed
        case .accept: []
        case .datagrams: .datagramsArmed
        }
    }
}

/// Which operation a completion belongs to: the eight bits between a token's slot and its
/// generation.
enum UringKind: UInt8 {
    case receive = 1
    /// Readiness to receive or to accept.
    case poll
    case send
    case cancelReceive
    case cancelPoll
    case cancelSend
    case connect
    case cancelConnect
    case datagrams
    case cancelDatagrams
    /// The poll of the waker's eventfd.
    case waker
    case cancelAll
    /// The poll for a hang-up.
    case watch
    case cancelWatch

    /// What a cancellation is of.
    var target: (kind: UringKind, armed: UringState)? {
        switch self {
        case .cancelReceive: (.receive, .receiveArmed)
        case .cancelPoll: (.poll, .pollArmed)
        case .cancelSend: (.send, .sendArmed)
        case .cancelConnect: (.connect, .connectArmed)
        case .cancelDatagrams: (.datagrams, .datagramsArmed)
        case .cancelWatch: (.watch, .watchArmed)
        default: nil
        }
    }

    /// Answered by one or more completions, the last of which ends it.
    var isOperation: Bool { target == nil && self != .cancelAll }

    @inline(__always)
    func userData(_ token: Token) -> UInt64 { token.word | UInt64(rawValue) << 24 }

    /// The token and the kind's number.
    @inline(__always)
    static func split(_ userData: UInt64) -> (token: Token, kind: UInt8) {
        let slot = UInt32(truncatingIfNeeded: userData) & (Token.slotLimit - 1)
        let generation = UInt32(truncatingIfNeeded: userData >> 32)
        return (
            Token(slot: slot, generation: generation), UInt8(truncatingIfNeeded: userData >> 24)
        )
    }
}

/// How large a ring is made. Small ones are for tests: every queue runs full there.
package struct UringSizes: Sendable {
    /// Operations handed over in one go.
    package var submissions: UInt32 = 1024
    /// More than submissions, since a multishot operation completes many times.
    package var completions: UInt32 = 8192
    /// Receive buffers of 128 KiB that all connections share: a power of two.
    package var buffers: UInt32 = 64

    package init() {}

    package static let tiny: UringSizes = {
        var sizes = UringSizes()
        sizes.submissions = 8
        sizes.completions = 64
        sizes.buffers = 2
        return sizes
    }()

    /// The next smaller one to try when memory does not suffice; nil at the floor.
    var halved: UringSizes? {
        guard submissions > Self.tiny.submissions else { return nil }
        var sizes = self
        sizes.submissions /= 2
        sizes.completions /= 2
        return sizes
    }
}
