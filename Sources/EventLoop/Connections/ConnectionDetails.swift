/// Called once: with nil when the kernel has all bytes, or with the cause when it never will.
package typealias SendResult = (CloseCause?) -> Void

/// Fields that a request does not use, and those with reference counting, so that the record itself
/// is plain memory.
///
/// Every idle connection has this object. Fields that few connections use are in `Extras`, which is
/// made with the first use of one.
package final class ConnectionDetails {
    // With the small fields behind the address, the object fills an allocation of 104 bytes.
    @exclusivity(unchecked) package var cause: CloseCause?
    @exclusivity(unchecked) package internal(set) var filter: FilterState?
    @exclusivity(unchecked) package var context: AnyObject?
    /// The values of the handler's per-connection variables, by variable number.
    @exclusivity(unchecked) package var values: [(variable: Int, box: AnyObject)] = []
    @exclusivity(unchecked) package internal(set) var remoteAddress: SocketAddress?
    /// Whether a listener accepted the connection.
    @exclusivity(unchecked) package let isAccepted: Bool
    /// A datagram socket waits after repeated receive failures.
    @exclusivity(unchecked) var holdsReceiving = false
    /// The callback of an empty datagram is running, which the byte count does not show.
    @exclusivity(unchecked) var holdsEmptyDatagram = false
    /// The handler was notified of the peer's end, which closes the connection once it is not busy.
    @exclusivity(unchecked) var isEndShown = false
    /// A task serves the connection, in place of a handler. Its object is the context, and it holds
    /// input back by itself.
    @exclusivity(unchecked) package var hasTask = false
    /// A proxy has told the addresses.
    @exclusivity(unchecked) var isProxied = false
    /// The connection is counted for the host of its remote address.
    @exclusivity(unchecked) var isHostCounted = false
    /// The time at which `onOpen` was due. While `lastReceived` equals it, the peer has sent no
    /// bytes for the handler.
    @exclusivity(unchecked) var openedAt: Nanoseconds = 0
    @exclusivity(unchecked) private var madeExtras: Extras?

    init(isAccepted: Bool, remoteAddress: SocketAddress?) {
        self.isAccepted = isAccepted
        self.remoteAddress = remoteAddress
    }

    final class Extras {
        @exclusivity(unchecked) fileprivate var work: ConnectionWork?
        @exclusivity(unchecked) fileprivate var attempt: ConnectAttempt?
        @exclusivity(unchecked) fileprivate var localAddress: SocketAddress?
        @exclusivity(unchecked) fileprivate var pipeTarget: Token?
        /// The peer of the socket, if `remoteAddress` is the one that a proxy has told.
        @exclusivity(unchecked) var proxyAddress: SocketAddress?
        /// The number of requested connections that it waits for.
        @exclusivity(unchecked) var pendingConnects = 0
        /// The connections whose pipes lead here.
        @exclusivity(unchecked) var pipeSources: [Token] = []
        /// It closes in the middle of a stream that it passes on by a pipe.
        @exclusivity(unchecked) var isCut = false
        /// A source of its pipe was cut, so that its own stream lacks its end.
        @exclusivity(unchecked) var hasCutSource = false
        /// Promises in order, each called when `sentTotal` reaches its mark.
        @exclusivity(unchecked) var promises: [(mark: Int, tell: SendResult)] = []
        @exclusivity(unchecked) fileprivate var sentTotal = 0
        @exclusivity(unchecked) fileprivate var expectedInput = 0
        /// The bytes in the kernel that the peer's host had not acknowledged, or a Unix peer not
        /// read, at the last check.
        @exclusivity(unchecked) var sendQueue: Int32 = 0
        /// The number of timers at which fired ones are dropped.
        @exclusivity(unchecked) var timersToSweep: Int32 = 8
        /// Timers of the handler, cancelled at close.
        @exclusivity(unchecked) var timers: [LoopTimer] = []
        /// The time of the last check of `sendQueue`.
        @exclusivity(unchecked) var sendQueueChecked: Nanoseconds = 0
        /// On a datagram socket: the callback that gathered the last bytes.
        @exclusivity(unchecked) var gatheredIn = 0
        /// On a datagram socket: those that came in a pause.
        @exclusivity(unchecked) var keptDatagrams: KeptDatagrams?
        /// The time of a datagram socket's last receive failure; 0: none.
        @exclusivity(unchecked) var receiveFailed: Nanoseconds = 0
        /// The time at which the loop first saw that the connection is overdue.
        @exclusivity(unchecked) var foundOverdue: Nanoseconds = 0
    }

    /// Makes them if need be, so use it to set one.
    var extras: Extras {
        if let madeExtras { return madeExtras }
        let made = Extras()
        madeExtras = made
        return made
    }

    package var hasExtras: Bool { madeExtras != nil }
}

extension ConnectionDetails {
    /// Blocking work; nil until the first.
    var work: ConnectionWork? {
        get { madeExtras?.work }
        set { extras.work = newValue }
    }

    /// The running connect; nil once connected.
    var attempt: ConnectAttempt? {
        get { madeExtras?.attempt }
        set { if newValue != nil { extras.attempt = newValue } else { madeExtras?.attempt = nil } }
    }

    package var localAddress: SocketAddress? {
        get { madeExtras?.localAddress }
        set { extras.localAddress = newValue }
    }

    var proxyAddress: SocketAddress? { madeExtras?.proxyAddress }

    /// The connection that a pipe leads to.
    var pipeTarget: Token? {
        get { madeExtras?.pipeTarget }
        set {
            if newValue != nil {
                extras.pipeTarget = newValue
            } else {
                madeExtras?.pipeTarget = nil
            }
        }
    }

    var pipeSources: [Token] { madeExtras?.pipeSources ?? [] }
    var hasCutSource: Bool { madeExtras?.hasCutSource ?? false }
    var isInPipe: Bool {
        madeExtras.map { $0.pipeTarget != nil || !$0.pipeSources.isEmpty } ?? false
    }
    var promises: [(mark: Int, tell: SendResult)] { madeExtras?.promises ?? [] }
    /// Not stored before the first promise.
    var sentTotal: Int {
        get { madeExtras?.sentTotal ?? 0 }
        set { madeExtras?.sentTotal = newValue }
    }
    var expectedInput: Int {
        get { madeExtras?.expectedInput ?? 0 }
        set { extras.expectedInput = newValue }
    }

    /// The datagrams that came in a pause; nil until the first.
    var keptDatagrams: KeptDatagrams? { madeExtras?.keptDatagrams }

    func cancelTimers() {
        guard let madeExtras, !madeExtras.timers.isEmpty else { return }
        // Moved out first: objects freed with a closure may add a timer.
        var due: [LoopTimer] = []
        swap(&due, &madeExtras.timers)
        for timer in due { timer.cancel() }
    }

    /// Returns the value of the variable with this number. Defined here, where access to `values`
    /// is unchecked.
    package func box(of variable: Int) -> AnyObject? {
        for index in values.indices where values[index].variable == variable {
            return values[index].box
        }
        return nil
    }
}
