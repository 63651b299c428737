/// The state of one connection, in plain memory that is reused but never freed.
///
/// Type-stable on purpose: a reference that outlives its connection still points to a record. That
/// record has another generation, so the reference reads as closed.
///
/// Two cache lines: with thousands of connections each line is a cache miss. Fields that a request
/// seldom uses are in `Rest`. The order leaves no gap, and a test checks the layout.
@usableFromInline
package struct ConnectionRecord: ~Copyable {
    /// The token of the record's current use.
    @usableFromInline var token: Token
    @usableFromInline var loop: Unmanaged<Loop>
    @usableFromInline var inbound = InboundBuffer()
    @usableFromInline var storedState = ConnectionState.free
    /// The number of the listener or datagram socket that has the slot.
    var listener: UInt16 = 0
    @usableFromInline var flags: ConnectionFlags = .notOpen
    @usableFromInline var outbound = OutboundQueue()
    var details: Unmanaged<ConnectionDetails>?
    /// Of a listener for datagrams: 0 until the first one after a failure.
    @usableFromInline var lastReceived: Nanoseconds = 0
    /// 0 until bytes were sent.
    @usableFromInline var lastSent: Nanoseconds = 0

    /// The fields that a request seldom uses, outside the record's cache lines: see `RecordChunks`.
    struct Rest {
        var timer = TimerQueue<TimerAction>.ID.none
        /// The time at which the handler became busy, or at which lingering began.
        var phaseStart: Nanoseconds = 0
        var descriptor = Descriptor(-1)
        private var storedDiscarded: UInt32 = 0
        /// Bytes discarded since the close began; less than that if it does not fit.
        var discarded: Int {
            get { Int(storedDiscarded) }
            set { storedDiscarded = UInt32(clamping: newValue) }
        }
    }

    @usableFromInline var state: ConnectionState {
        @inlinable get { storedState }
        set {
            storedState = newValue
            if newValue == .open { flags.remove(.notOpen) } else { flags.insert(.notOpen) }
        }
    }
    /// The time at which bytes last moved, in either direction, or the state changed.
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

/// The states of a connection, in order. `DESIGN.md` draws them.
@usableFromInline
package enum ConnectionState: UInt8, Sendable {
    case free
    /// A listener has the slot.
    case listening
    /// The connect is in progress; no handler knows of the connection yet.
    case connecting
    /// The filter's handshake is in progress; no handler knows of the connection yet.
    case securing
    case open
    /// Closed by us: written bytes are sent, received ones discarded.
    case finishing
    /// `onClose` has run and our end is sent. Waits for the peer's end, so that no reset destroys
    /// bytes that the peer has not read.
    case lingering
    /// The driver closes the descriptor; no more callbacks run.
    case closing
}

/// The reasons for which a connection is not read. It is read again when none is left.
@usableFromInline
package struct PauseReasons: OptionSet, Sendable {
    @usableFromInline package let rawValue: UInt32
    @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The handler has paused reading.
    @inlinable package static var handler: Self { Self(rawValue: 1 << 2) }
    /// The peer does not read its output.
    @inlinable package static var output: Self { Self(rawValue: 1 << 3) }
    /// The target of the connection's pipe accepts no more bytes now.
    @inlinable static var pipe: Self { Self(rawValue: 1 << 20) }
    /// The handler has requested another connection, which is on its way.
    @inlinable static var connect: Self { Self(rawValue: 1 << 21) }
    /// The connection's blocking work is at its limit.
    @inlinable package static var work: Self { Self(rawValue: 1 << 25) }

    @inlinable static var all: Self { [.handler, .output, .pipe, .connect, .work] }
    /// The reasons that may last as long as the peer or the program chooses.
    static var unbounded: Self { [.handler, .output, .pipe, .work] }
}

/// The facts about a connection beside its state. The word has the bits of `PauseReasons` too.
@usableFromInline
package struct ConnectionFlags: OptionSet, Sendable {
    @usableFromInline package let rawValue: UInt32
    @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// A receive stream is running in the driver.
    static let receiving = ConnectionFlags(rawValue: 1 << 0)
    /// That stream is being stopped and has not ended yet.
    static let stopping = ConnectionFlags(rawValue: 1 << 1)
    /// Above the high mark at some time since `onWritable`.
    @inlinable package static var congested: Self { Self(rawValue: 1 << 4) }
    /// Bytes were written since the last flush.
    @inlinable static var dirty: Self { Self(rawValue: 1 << 5) }
    /// In the loop's queue of connections with pending work.
    static let queued = ConnectionFlags(rawValue: 1 << 6)
    /// `onTraffic` is due for bytes, or for datagrams, that arrived during a pause.
    static let trafficDue = ConnectionFlags(rawValue: 1 << 7)
    /// The peer's end was pulled from the driver.
    package static let peerEnded = ConnectionFlags(rawValue: 1 << 8)
    /// The peer's end is not reported to the handler yet.
    package static let endDue = ConnectionFlags(rawValue: 1 << 9)
    /// Our end follows the written bytes; no more writes are accepted.
    @inlinable package static var writeEnded: Self { Self(rawValue: 1 << 10) }
    /// Our end was submitted to the driver.
    static let endSent = ConnectionFlags(rawValue: 1 << 11)
    /// Closes with a reset, without the unsent bytes.
    static let aborting = ConnectionFlags(rawValue: 1 << 12)
    /// `onOpen` was called, so `onClose` will be.
    static let opened = ConnectionFlags(rawValue: 1 << 13)
    /// Bytes are reserved in the outbound queue and being filled in.
    @inlinable static var reserving: Self { Self(rawValue: 1 << 14) }
    /// A `sent` closure waits for bytes to be sent.
    @inlinable static var hasPromises: Self { Self(rawValue: 1 << 15) }
    /// `onTraffic` is due for a wake-up.
    static let wakeDue = ConnectionFlags(rawValue: 1 << 16)
    /// `preWrite` is running, which may write although the connection is closing.
    static let preWriting = ConnectionFlags(rawValue: 1 << 17)
    /// A connected datagram socket: datagrams, and no end.
    @inlinable package static var datagrams: Self { Self(rawValue: 1 << 18) }
    /// Received bytes go to another connection.
    @inlinable static var piped: Self { Self(rawValue: 1 << 19) }
    /// The handler reports that it is busy, so a stop waits for it.
    static let busy = ConnectionFlags(rawValue: 1 << 22)
    /// In a state other than `open`. A flag, so that one test covers the common case.
    @inlinable static var notOpen: Self { Self(rawValue: 1 << 23) }
    /// The handler waits for more input than the inbound cap allows: see `expectedInput`.
    @inlinable static var expectingInput: Self { Self(rawValue: 1 << 24) }
    /// No more bytes can be sent, after a reset or another error, which is the cause of the coming
    /// close. Received bytes are still shown, and pauses no longer count.
    static let broken = ConnectionFlags(rawValue: 1 << 26)
    /// Closing: written bytes are sent, then a reset, since the stream was cut.
    static let resetsAtEnd = ConnectionFlags(rawValue: 1 << 27)
    /// Reading continues regardless of unsent bytes.
    package static let readsAhead = ConnectionFlags(rawValue: 1 << 28)
    /// The driver watches for a hang-up.
    static let watching = ConnectionFlags(rawValue: 1 << 29)
    /// Blocking work is to be started, or its refusal reported.
    static let workDue = ConnectionFlags(rawValue: 1 << 30)
    /// The wire's bytes are not the handler's: a filter turns one into the other.
    @inlinable package static var filtered: Self { Self(rawValue: 1 << 31) }

    /// The reasons of `PauseReasons`, in the same word so that one test covers them.
    @inlinable static func paused(_ reasons: PauseReasons) -> Self {
        Self(rawValue: reasons.rawValue)
    }
    /// Reasons why fresh input needs more than a callback.
    @inlinable static var needsReceived: Self {
        [.notOpen, .paused(.all), .piped, .filtered]
    }
    /// Reasons why a fresh datagram needs more than a callback.
    static var needsReceivedDatagram: Self { [.notOpen, .paused(.all), .piped, .trafficDue] }
    /// Reasons why a completed send needs more than a count.
    @inlinable static var needsSent: Self {
        [
            .notOpen, .hasPromises, .paused(.output), .congested, .writeEnded, .datagrams,
            .reserving, .filtered,
        ]
    }
    /// Reasons why a write needs more than a copy.
    static let needsWrite: ConnectionFlags = [.notOpen, .writeEnded, .datagrams, .reserving]
}

/// The reason for a close.
@usableFromInline
package enum CloseCause: Sendable {
    case local
    case peer
    case reset(SystemError)
    /// The filter's stream was cut off or became useless.
    case filter(any Error)
    case handlerError(any Error)
    case timeout
    case inboundOverflow
    case outboundOverflow
    case shutdown
}
