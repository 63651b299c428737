/// What a loop needs to know, and whom it talks to.

/// How a loop treats its connections. Sizes in bytes.
@usableFromInline
package struct LoopConfiguration: Sendable {
    package var stream = StreamOptions()
    package var allowHalfClosure = false
    package var inboundLimit = 1 << 20
    package var outboundHighMark = 256 << 10
    package var outboundLowMark = 64 << 10
    package var outboundLimit = 64 << 20
    package var idleTimeout: Nanoseconds?
    /// Without a byte received, while reading.
    package var readTimeout: Nanoseconds?
    /// Without a byte taken, while some are owed.
    package var writeTimeout: Nanoseconds?
    /// A turn's callbacks that take longer are counted and reported.
    package var slowTurn: Nanoseconds = 100_000_000
    /// How long to look for events without sleeping, after the last one.
    package var busyPoll: Nanoseconds = 0
    /// How long a closing connection may go without progress.
    package var closeTimeout: Nanoseconds = 10_000_000_000
    /// How long to wait for the peer's end after ours.
    package var lingerTimeout: Nanoseconds = 5_000_000_000
    /// How much to throw away meanwhile.
    package var lingerLimit = 16 << 20
    /// Connections are counted by host.
    package var countsHosts = false
    /// Connected sockets for datagrams may be handed several in one piece.
    package var receiveOffload = false
    /// Datagrams of one size to one receiver are sent together.
    package var segmentationOffload = false
    /// Completions handled between two looks at timers and other threads' messages.
    @usableFromInline package var completionsPerTurn = 512
    package var mailboxCapacity = 65_536

    package init() {}
}

/// What a callback asks of the loop.
@usableFromInline
package enum LoopAction: UInt8, Sendable {
    case none
    case close
    case shutdown
}

@usableFromInline
package enum LoopTick: Sendable {
    case after(Nanoseconds)
    case never
    case shutdown
}

/// Gets a loop's events, on its thread. One event at a time: none is delivered inside another,
/// but for `willWrite` when a handler flushes.
@usableFromInline
package protocol LoopDelegate: AnyObject {
    func boot(_ loop: Loop) throws -> LoopAction
    func tick(_ loop: Loop) throws -> LoopTick
    func opened(_ connection: ConnectionReference) throws -> LoopAction
    func traffic(_ connection: ConnectionReference) throws -> LoopAction
    func writable(_ connection: ConnectionReference) throws -> LoopAction
    func peerEnded(_ connection: ConnectionReference) throws -> LoopAction
    func willWrite(_ connection: ConnectionReference) throws -> LoopAction
    func closed(_ connection: ConnectionReference, _ cause: CloseCause) -> LoopAction
    /// Who gets the datagrams of the loop's own sockets; asked once.
    var datagrams: any DatagramDelegate { get }
    /// After the last connection of the last loop.
    func shutDown(_ loop: Loop)
}

/// Gets the datagrams of a loop's own sockets, as a `LoopDelegate` its events.
@usableFromInline
package protocol DatagramDelegate: AnyObject {
    /// `socket` is its place among the loop's listeners.
    func datagram(
        _ datagram: UnsafePointer<ReceivedDatagram>, on loop: Loop, socket: Int
    ) throws -> LoopAction
}

/// Who started the loops. Called from their threads.
package protocol LoopOwner: AnyObject, Sendable {
    func stopRequested(_ cause: StopCause)
    /// A listener is about to close. False if its path has to stay: somebody else serves it too.
    func listenerCloses(_ listener: BoundListener) -> Bool
    /// This loop accepts no more, and nothing waits in its backlogs.
    func acceptingStopped(_ loop: Int)
    /// This loop has no connection left.
    func drained(_ loop: Int)
    /// Something degraded that an operator should see.
    func report(_ event: LoopReport)
    /// One more connection is alive: false if the limit is reached now.
    func connectionAccepted() -> Bool
    func connectionClosed()
    /// One more connection of a host: false if it has as many as it may have, and then it is not
    /// counted.
    func hostConnected(_ host: SocketAddress) -> Bool
    func hostDisconnected(_ host: SocketAddress)
    var hasRoom: Bool { get }
}

package enum StopCause: Sendable {
    case requested
    case shutdownAction
    case failed(any Error)
}

package enum LoopReport: Sendable {
    case acceptBackOff(SystemError, listener: Int, retryIn: Nanoseconds)
    case acceptPaused(listener: Int)
    case driverFailed(SystemError, loop: Int)
    case slotsExhausted(loop: Int)
    case datagramHandlerFailed(String)
    /// Callbacks held their loop for so long.
    case slowTurn(loop: Int, Nanoseconds)
    /// A loop runs on epoll, although io_uring was preferred; why not, in words.
    case backendFellBack(String)
    /// A loop's ring has fewer entries than wanted.
    case ringShrunk(entries: Int)
    /// A minimum wait is wanted, and this kernel has none.
    case minimumWaitIgnored
}

/// What other threads send to a loop.
package enum LoopMessage: Sendable {
    /// With the host that it was counted for, if hosts are counted.
    case adopt(Descriptor, listener: Int, host: SocketAddress?)
    case run(@Sendable (Loop) -> Void)
    case startAccepting
    case resumeAccepting
    case stopAccepting
    /// Close what is quiet, then everything when the time is up.
    case drain(within: Nanoseconds)
    /// All loops are drained: say goodbye and end.
    case end
}

/// A loop as other threads see it.
package final class LoopPort: Sendable {
    package let index: Int
    package let mailbox: Mailbox<LoopMessage>
    package let counters = LoopCounters()
    package let driverCounters: DriverCounters

    init(index: Int, capacity: Int, driver: any Driver) {
        self.index = index
        mailbox = Mailbox(capacity: capacity, waker: driver.waker)
        driverCounters = driver.counters
    }

    /// From any thread: false if the loop has ended, or is so far behind that it takes no more.
    @discardableResult
    package func run(_ body: @escaping @Sendable (Loop) -> Void) -> Bool {
        post(.run(body)) == .accepted
    }

    package func post(
        _ message: LoopMessage, always: Bool = false
    ) -> Mailbox<LoopMessage>.Outcome {
        mailbox.post(message, always: always)
    }
}
