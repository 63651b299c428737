import Synchronization

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
    /// Connections and listeners of a loop at most; fewer in tests.
    package var slotLimit = Int(Token.slotLimit)
    /// Blocking work of one connection that may wait or run before its input pauses.
    package var workLimit = 16
    /// Who does it.
    package var workers: WorkerPool?

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
    /// What stays of it when the loop has ended: nothing that the program has handed in.
    var rest: any LoopDelegate { get }
}

/// Gets the datagrams of a loop's own sockets, as a `LoopDelegate` its events.
@usableFromInline
package protocol DatagramDelegate: AnyObject {
    /// `socket` is its place among the loop's listeners.
    func datagram(
        _ datagram: UnsafePointer<ReceivedDatagram>, on loop: Loop, socket: Int
    ) throws -> LoopAction
}

/// Both delegates of a loop, in one object that can be replaced.
@usableFromInline
package final class Delegates {
    @usableFromInline let delegate: any LoopDelegate
    @usableFromInline let datagrams: any DatagramDelegate

    init(_ delegate: any LoopDelegate) {
        self.delegate = delegate
        datagrams = delegate.datagrams
    }
}

/// Who started the loops. Called from their threads.
package protocol LoopOwner: AnyObject, Sendable {
    func stopRequested(_ cause: StopCause)
    /// Another server accepts from it too, or may do so.
    func isHandedOut(_ listener: BoundListener) -> Bool
    /// A listener is about to close. False if its path has to stay: somebody else serves it too.
    func listenerCloses(_ listener: BoundListener) -> Bool
    /// A loop that acceptors waited for has taken what it was handed.
    func caughtUp()
    /// This loop accepts no more, and nothing waits in its backlogs.
    func acceptingStopped(_ loop: Int)
    /// This loop has no connection left.
    func drained(_ loop: Int)
    /// Something degraded that an operator should see.
    func report(_ event: LoopReport)
    /// Counts one more connection, if the limit leaves room for it, and for those that are parked.
    func takeRoom() -> Bool
    /// One was accepted that found no room. It goes before those that are accepted after it, by
    /// whichever loop, so that its wait has an end.
    func connectionParked()
    /// As `takeRoom`, for one that was parked, which it then is no longer.
    func takeRoomForParked() -> Bool
    /// One that was parked is served, limit or not.
    func parkedConnectionAdded()
    /// Counts one more connection, whatever the limit is.
    func connectionAdded()
    func connectionClosed()
    /// One more connection of a host: false if it has as many as it may have, and then it is not
    /// counted.
    func hostConnected(_ host: SocketAddress) -> Bool
    func hostDisconnected(_ host: SocketAddress)
    /// For one that is yet to be accepted.
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
    /// Connections are handed to this loop faster than it takes them: accepting waits for it.
    case acceptorWaits(loop: Int)
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
    case adopt(AcceptedStream, listener: Int, host: SocketAddress?)
    case run(@Sendable (Loop) -> Void)
    case startAccepting
    case resumeAccepting
    /// Those that wait in the backlog are taken in first, for so long at most.
    case stopAccepting(within: Nanoseconds)
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
    /// A request to go on accepting is on its way: one is enough.
    let isResuming = Atomic(false)
    /// Connections that were handed over and are still to be taken.
    let adoptions = PendingAdoptions()
    /// Bytes of datagrams that other threads have given and the loop has not come to.
    private let waitingDatagrams = Atomic(0)
    /// A mailbox full of the largest would be 4 GiB.
    package static let datagramLimit = 4 << 20

    init(index: Int, capacity: Int, driver: any Driver) {
        self.index = index
        mailbox = Mailbox(capacity: capacity, waker: driver.waker)
        driverCounters = driver.counters
    }

    /// Connections that it has or will have.
    package var load: Int { counters.open + adoptions.waiting }

    /// From any thread: false if the loop has ended, or is so far behind that it takes no more.
    @discardableResult
    package func run(_ body: @escaping @Sendable (Loop) -> Void) -> Bool {
        post(.run(body)) == .accepted
    }

    /// As `run`, for a datagram of so many bytes: false also if too many wait already. A refusal is
    /// counted as a drop.
    package func send(bytes count: Int, _ body: @escaping @Sendable (Loop) -> Void) -> Bool {
        // The message takes something too.
        let size = count + 64
        let sum = waitingDatagrams.add(size, ordering: .relaxed).newValue
        // A single one is never too large: whether it can be sent is the kernel's to say.
        let isTaken =
            (sum <= Self.datagramLimit || sum == size)
            && mailbox.post(
                .run { [self] loop in
                    waitingDatagrams.subtract(size, ordering: .relaxed)
                    body(loop)
                }, counts: false) == .accepted
        if !isTaken {
            waitingDatagrams.subtract(size, ordering: .relaxed)
            counters.datagramRefusals.add()
        }
        return isTaken
    }

    package func post(
        _ message: LoopMessage, always: Bool = false
    ) -> Mailbox<LoopMessage>.Outcome {
        mailbox.post(message, always: always)
    }

    /// Hands a connection over, with the host that it was counted for. False if the loop has ended.
    package func adopt(_ stream: AcceptedStream, listener: Int, host: SocketAddress?) -> Bool {
        adoptions.add()
        let message = LoopMessage.adopt(stream, listener: listener, host: host)
        guard post(message, always: true) != .accepted else { return true }
        _ = adoptions.remove()
        return false
    }

    /// For what a loop is told about itself: it overtakes everything else and is never refused.
    package func postFirst(_ message: LoopMessage) {
        _ = mailbox.post(message, always: true, first: true)
    }
}

/// How far a loop is behind with the connections that an acceptor hands to it.
///
/// Bounded so that under a flood clients wait in the backlog, where they cost nothing, and not as
/// descriptors in a mailbox, in front of everybody's messages.
final class PendingAdoptions: Sendable {
    private let count = Atomic(0)
    private let isAwaited = Atomic(false)

    /// At this many an acceptor waits, and goes on at a quarter of it.
    private static let limit = 64

    var waiting: Int { count.load(ordering: .relaxed) }
    var isNone: Bool { count.load(ordering: .sequentiallyConsistent) == 0 }

    /// Without asking to be told.
    var isMany: Bool { count.load(ordering: .relaxed) >= Self.limit }

    func add() { count.add(1, ordering: .sequentiallyConsistent) }

    /// True if an acceptor waits for this.
    func remove() -> Bool {
        let left = count.subtract(1, ordering: .sequentiallyConsistent).newValue
        guard left <= Self.limit / 4, isAwaited.load(ordering: .sequentiallyConsistent) else {
            return false
        }
        return isAwaited.exchange(false, ordering: .sequentiallyConsistent)
    }

    /// Whether the acceptor has to wait; if so, the loop tells when it need not any more.
    func mustWait() -> Bool {
        guard count.load(ordering: .sequentiallyConsistent) >= Self.limit else { return false }
        isAwaited.store(true, ordering: .sequentiallyConsistent)
        // The loop may have taken the last of them before it could see that somebody waits.
        return count.load(ordering: .sequentiallyConsistent) > Self.limit / 4
    }
}
