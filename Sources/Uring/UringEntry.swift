internal import MillraceEventLoop

/// The driver's state of one token: its descriptor, and its streams and operations in flight. Four
/// fit into a cache line.
struct UringEntry: TokenEntry {
    var token = Token.none
    var descriptor: CInt = -1
    var state: UringState = []
    var sendError = SendError()
}

struct UringState: OptionSet {
    let rawValue: UInt16

    /// The loop has started this stream, and its last completion is still to come.
    static let receiving = UringState(rawValue: 1 << 0)
    static let accepting = UringState(rawValue: 1 << 1)
    /// The multishot operation is in flight: its terminal completion is still to come.
    static let receiveArmed = UringState(rawValue: 1 << 2)
    /// A poll for readiness to receive or accept is in flight.
    static let pollArmed = UringState(rawValue: 1 << 3)
    static let sendArmed = UringState(rawValue: 1 << 4)
    /// The loop has stopped the stream, and `stopped` is still to come.
    static let stopping = UringState(rawValue: 1 << 5)
    /// The stream waits in the `starved` queue to be armed.
    static let starved = UringState(rawValue: 1 << 6)
    /// The descriptor is closed when no operation is in flight.
    static let closing = UringState(rawValue: 1 << 7)

    static let receivingDatagrams = UringState(rawValue: 1 << 8)
    static let datagramsArmed = UringState(rawValue: 1 << 9)
    static let connectArmed = UringState(rawValue: 1 << 10)
    /// The loop waits for a hang-up.
    static let watched = UringState(rawValue: 1 << 11)
    /// A poll for hang-ups is in flight.
    static let watchArmed = UringState(rawValue: 1 << 12)
    /// A try to receive or accept is queued.
    static let tryQueued = UringState(rawValue: 1 << 13)
    /// A short receive may leave something behind: an end, an error or urgent data.
    static let untilEmpty = UringState(rawValue: 1 << 14)
    /// A Unix socket, where a receive is also short if descriptors were passed.
    static let isUnix = UringState(rawValue: 1 << 15)

    /// The stream is polled: neither is its receive armed, nor does it wait to be.
    var isPolled: Bool { contains(.receiving) && isDisjoint(with: [.receiveArmed, .starved]) }

    static let inFlight: UringState = [
        .receiveArmed, .pollArmed, .sendArmed, .datagramsArmed, .connectArmed, .watchArmed,
    ]

    /// Returns the flag of a stream that the loop has started.
    static func running(_ kind: StreamKind) -> UringState {
        switch kind {
        case .receive: .receiving
        case .accept: .accepting
        case .datagrams: .receivingDatagrams
        }
    }

    /// Returns the flag of an operation that ends only when it is cancelled. A poll does not count:
    /// its events can be ignored.
    static func armed(_ kind: StreamKind) -> UringState {
        switch kind {
        case .receive: .receiveArmed
        case .accept: []
        case .datagrams: .datagramsArmed
        }
    }
}

/// The operation of a completion: the eight bits between a token's slot and its generation.
enum UringKind: UInt8 {
    case receive = 1
    /// The poll for readiness to receive or accept.
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

    /// The operation that a cancellation cancels; nil for any other kind.
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

    /// Whether the kernel answers it with one or more completions, the last of which ends it.
    var isOperation: Bool { target == nil && self != .cancelAll }

    @inline(__always)
    func userData(_ token: Token) -> UInt64 { token.word | UInt64(rawValue) << 24 }

    /// Splits user data into the token and the kind's number.
    @inline(__always)
    static func split(_ userData: UInt64) -> (token: Token, kind: UInt8) {
        let slot = UInt32(truncatingIfNeeded: userData) & (Token.slotLimit - 1)
        let generation = UInt32(truncatingIfNeeded: userData >> 32)
        return (
            Token(slot: slot, generation: generation), UInt8(truncatingIfNeeded: userData >> 24)
        )
    }
}

/// The sizes of a ring. Small ones are for tests, where every queue becomes full.
package struct UringSizes: Sendable {
    /// The most operations that one kernel entry submits.
    package var submissions: UInt32 = 1024
    /// The length of the completion queue: more than submissions, since a multishot operation
    /// completes many times.
    package var completions: UInt32 = 8192
    /// The number of receive buffers of 128 KiB, which all connections share: a power of two.
    package var buffers: UInt32 = 64

    package init() {}

    package static let tiny: UringSizes = {
        var sizes = UringSizes()
        sizes.submissions = 8
        sizes.completions = 64
        sizes.buffers = 2
        return sizes
    }()

    /// The next smaller sizes to try when memory does not suffice; nil at the minimum.
    var halved: UringSizes? {
        guard submissions > Self.tiny.submissions else { return nil }
        var sizes = self
        sizes.submissions /= 2
        sizes.completions /= 2
        return sizes
    }
}
