/// Everything that a loop keeps of one connection, in plain memory that is reused but never freed.
///
/// Type-stable on purpose: who kept a reference beyond the connection's life still finds a record
/// there, with another generation, and so reads it as closed.
///
/// Three cache lines, and an echo touches the first two: with thousands of connections each line is
/// a miss. A test holds the layout.
@usableFromInline
package struct ConnectionRecord: ~Copyable {
    /// This life's name.
    @usableFromInline package internal(set) var token: Token
    @usableFromInline var storedState = ConnectionState.free
    @usableFromInline package internal(set) var flags: ConnectionFlags = .notOpen
    @usableFromInline package internal(set) var loop: Unmanaged<Loop>
    @usableFromInline package var inbound = InboundBuffer()
    @usableFromInline package internal(set) var outbound = OutboundQueue()
    @usableFromInline var lastReceived: Nanoseconds = 0
    /// 0 until something was.
    @usableFromInline var lastSent: Nanoseconds = 0

    // MARK: What a request seldom touches

    package internal(set) var details: Unmanaged<ConnectionDetails>?
    package internal(set) var descriptor = Descriptor(-1)
    var timer = TimerQueue<TimerAction>.ID.none
    /// Bytes sent, at least while anybody waits to hear of it: what the promises of `sent` closures
    /// are measured against.
    var sentTotal = 0
    /// How much unread input the handler has said it is waiting for; above the inbound cap if it
    /// says so. Counts while `.awaiting`.
    package var awaited = 0
    /// Bytes thrown away since the close began. Of an open datagram socket, in which callback its
    /// last bytes were gathered.
    var discarded = 0
    /// What the peer's host had not acknowledged at the last look; counts with `.resetsAtEnd`.
    var unacknowledged = Int.max
    var lingerStart: Nanoseconds = 0

    @usableFromInline package internal(set) var state: ConnectionState {
        @inlinable get { storedState }
        set {
            storedState = newValue
            if newValue == .open { flags.remove(.notOpen) } else { flags.insert(.notOpen) }
        }
    }
    /// When bytes last moved, in either direction, or the connection's state changed.
    var lastProgress: Nanoseconds {
        get { max(lastReceived, lastSent) }
        set {
            lastReceived = newValue
            lastSent = newValue
        }
    }

    init(loop: Unmanaged<Loop>, token: Token) {
        self.loop = loop
        self.token = token
    }
}

/// How the loop's code and the public API hold a record.
@usableFromInline
package typealias ConnectionReference = UnsafeMutablePointer<ConnectionRecord>

/// A connection's life, in order. `DESIGN.md` draws it.
@usableFromInline
package enum ConnectionState: UInt8, Sendable {
    case free
    /// A listener has the slot.
    case listening
    /// On its way; no handler knows of it yet.
    case connecting
    case open
    /// Closed by us: what was written goes out, what comes is discarded.
    case finishing
    /// The handler's part is over and our end is sent; waiting for the peer's, so that no reset
    /// destroys what it has not read.
    case lingering
    /// The driver closes the descriptor; nothing is called any more.
    case closing
}

@usableFromInline
package struct ConnectionFlags: OptionSet, Sendable {
    @usableFromInline package let rawValue: UInt32
    @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// A receive stream is running in the driver.
    static let receiving = ConnectionFlags(rawValue: 1 << 0)
    /// That stream was asked to stop and has not said its last word.
    static let stopping = ConnectionFlags(rawValue: 1 << 1)
    /// The handler asked for no input.
    @inlinable package static var paused: Self { Self(rawValue: 1 << 2) }
    /// The library asks for no input, since the peer does not take its output.
    @inlinable package static var throttled: Self { Self(rawValue: 1 << 3) }
    /// Above the high mark at some time since `onWritable`.
    @inlinable package static var congested: Self { Self(rawValue: 1 << 4) }
    /// Bytes were written since the last flush.
    @inlinable static var dirty: Self { Self(rawValue: 1 << 5) }
    /// In the loop's queue of connections to attend to.
    static let queued = ConnectionFlags(rawValue: 1 << 6)
    /// `onTraffic` is owed for bytes that came while paused.
    static let trafficDue = ConnectionFlags(rawValue: 1 << 7)
    /// The peer's end was pulled from the driver.
    package static let peerEnded = ConnectionFlags(rawValue: 1 << 8)
    /// The peer's end is still to be told to the handler.
    static let endDue = ConnectionFlags(rawValue: 1 << 9)
    /// Our end goes out after what is written; writing is over.
    @inlinable package static var writeEnded: Self { Self(rawValue: 1 << 10) }
    /// Our end was handed to the driver.
    static let endSent = ConnectionFlags(rawValue: 1 << 11)
    /// Closes with a reset, dropping what is unsent.
    static let aborting = ConnectionFlags(rawValue: 1 << 12)
    /// `onOpen` was called, so `onClose` is owed.
    static let opened = ConnectionFlags(rawValue: 1 << 13)
    /// Bytes are reserved in the outbound queue and being filled in.
    @inlinable static var reserving: Self { Self(rawValue: 1 << 14) }
    /// Somebody waits for bytes to be sent.
    @inlinable static var sendAwaited: Self { Self(rawValue: 1 << 15) }
    /// `onTraffic` is owed for a wake-up.
    static let wakeDue = ConnectionFlags(rawValue: 1 << 16)
    /// `preWrite` is running: it may write although the connection is closing.
    static let preWriting = ConnectionFlags(rawValue: 1 << 17)
    /// A connected datagram socket: messages, and no end.
    @inlinable package static var datagrams: Self { Self(rawValue: 1 << 18) }
    /// What comes goes to another connection.
    @inlinable static var piped: Self { Self(rawValue: 1 << 19) }
    /// That other connection does not take more now.
    @inlinable static var pipeFull: Self { Self(rawValue: 1 << 20) }
    /// Waits for a connection that it asked for.
    @inlinable static var awaitingOther: Self { Self(rawValue: 1 << 21) }
    /// In the middle of something, says its handler: a stop waits for it.
    static let busy = ConnectionFlags(rawValue: 1 << 22)
    /// In another state than `open`: here too, so that one test tells the usual case.
    @inlinable static var notOpen: Self { Self(rawValue: 1 << 23) }
    /// The handler waits for more input than is there: see `awaited`.
    @inlinable static var awaiting: Self { Self(rawValue: 1 << 24) }
    /// As much blocking work of this connection waits as may.
    @inlinable package static var workFull: Self { Self(rawValue: 1 << 25) }
    /// Nothing can be sent any more, by a reset or another error, which is the cause of the coming
    /// close. What has arrived is still shown; pauses no longer count.
    static let broken = ConnectionFlags(rawValue: 1 << 26)
    /// Closing: what was written goes out, and then a reset, since the stream was cut.
    static let resetsAtEnd = ConnectionFlags(rawValue: 1 << 27)
    /// Reading goes on however much is unsent.
    package static let readsAhead = ConnectionFlags(rawValue: 1 << 28)
    /// The driver watches for a hang-up.
    static let watching = ConnectionFlags(rawValue: 1 << 29)
    /// Blocking work is to be started, or its refusal to be told.
    static let workDue = ConnectionFlags(rawValue: 1 << 30)
    /// The handler was told of an end that waits until it is no longer busy.
    static let endShown = ConnectionFlags(rawValue: 1 << 31)

    /// Reasons not to read.
    static let notReading: ConnectionFlags = [
        .paused, .throttled, .pipeFull, .workFull, .awaitingOther,
    ]
    /// Those that may last as long as the peer or the program likes.
    static let pauses: ConnectionFlags = [.paused, .throttled, .pipeFull, .workFull]
    /// Reasons why fresh input is more than a callback.
    @inlinable static var needsReceived: Self {
        [.notOpen, .paused, .throttled, .pipeFull, .workFull, .awaitingOther, .piped]
    }
    /// Reasons why a completed send is more than a count.
    @inlinable static var needsSent: Self {
        [.notOpen, .sendAwaited, .throttled, .congested, .writeEnded, .datagrams, .reserving]
    }
    /// Reasons why a write is more than a copy.
    static let needsWrite: ConnectionFlags = [.notOpen, .writeEnded, .datagrams, .reserving]
}

/// Why a connection closes.
@usableFromInline
package enum CloseCause: Sendable {
    case local
    case peer
    case reset(SystemError)
    case handlerError(any Error)
    case timeout
    case inboundOverflow
    case outboundOverflow
    case shutdown
}

/// What is rarely looked at, and what needs reference counting: so that the record itself is plain
/// memory.
package final class ConnectionDetails {
    @exclusivity(unchecked) package var cause: CloseCause?
    // Small ones together, so that they share a word.
    /// A listener took it in.
    @exclusivity(unchecked) package let isAccepted: Bool
    /// A datagram socket that failed to receive twice waits a little.
    @exclusivity(unchecked) var holdsReceiving = false
    /// An empty datagram is in hand, of which no byte tells.
    @exclusivity(unchecked) var holdsEmptyDatagram = false
    /// Connections that it asked for and waits for.
    @exclusivity(unchecked) var awaitedOthers: Int32 = 0
    /// At so many timers, those that fired are dropped.
    @exclusivity(unchecked) var timersToSweep: Int32 = 8
    /// Blocking work, once there has been any.
    @exclusivity(unchecked) var work: ConnectionWork?
    @exclusivity(unchecked) var pipeTarget: Token?
    @exclusivity(unchecked) var pipeSources: [Token] = []
    /// Until it is connected.
    @exclusivity(unchecked) var attempt: ConnectAttempt?
    @exclusivity(unchecked) package var context: AnyObject?
    /// Values of the handler's per-connection variables, by the variable's number.
    @exclusivity(unchecked) package var values: [(variable: Int, box: AnyObject)] = []
    /// Timers of the handler, cancelled at close.
    @exclusivity(unchecked) var timers: [LoopTimer] = []
    /// Promises, in order: told when `sentTotal` reaches their mark.
    @exclusivity(unchecked) var awaitedSends: [(mark: Int, tell: SendResult)] = []
    /// The host that this connection was counted for.
    @exclusivity(unchecked) var countedHost: SocketAddress?
    @exclusivity(unchecked) package internal(set) var remoteAddress: SocketAddress?
    @exclusivity(unchecked) package var localAddress: SocketAddress?
    /// When a datagram socket last failed to receive; 0: never.
    @exclusivity(unchecked) var receiveFailed: Nanoseconds = 0

    init(isAccepted: Bool, remoteAddress: SocketAddress?) {
        self.isAccepted = isAccepted
        self.remoteAddress = remoteAddress
    }
}

/// Called once, with nil when the kernel has all the bytes, or with why it never will.
package typealias SendResult = (CloseCause?) -> Void

extension ConnectionRecord {
    /// Here, and not where it is asked: a set of flags is compared by its witness table elsewhere.
    package var isWritable: Bool { state == .open && !flags.contains(.congested) }
    package var isDatagram: Bool { flags.contains(.datagrams) }

    /// Its handler's part is over, or will be when the running callback returns.
    package var isOver: Bool { state == .lingering || state == .closing }
}

extension ConnectionDetails {
    func cancelTimers() {
        guard !timers.isEmpty else { return }
        // Out of the list first: what goes with a closure may ask for another one.
        var due: [LoopTimer] = []
        swap(&due, &timers)
        for timer in due { timer.cancel() }
    }

    /// The value of the variable with this number. Here, where access to `values` is not checked.
    package func box(of variable: Int) -> AnyObject? {
        for index in values.indices where values[index].variable == variable {
            return values[index].box
        }
        return nil
    }
}
