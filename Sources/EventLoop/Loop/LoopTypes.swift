import Synchronization

/// The types that connect a loop with its configuration, its delegate and its owner.

/// The settings of a loop's connections. Sizes in bytes.
@usableFromInline
package struct LoopConfiguration: Sendable {
    package var stream = StreamOptions()
    package var allowHalfClosure = false
    package var inboundLimit = 1 << 20
    package var outboundHighMark = 256 << 10
    package var outboundLowMark = 64 << 10
    package var outboundLimit = 64 << 20
    package var idleTimeout: Nanoseconds?
    /// The time without a received byte, while reading.
    package var readTimeout: Nanoseconds?
    /// The time without an accepted byte, while bytes wait to be sent.
    package var writeTimeout: Nanoseconds?
    /// Turns with longer callbacks are counted and reported.
    package var slowTurn: Nanoseconds = 100_000_000
    /// The time to poll for events without sleeping, after the last event.
    package var busyPoll: Nanoseconds = 0
    /// The longest time without progress of a closing connection.
    package var closeTimeout: Nanoseconds = 10_000_000_000
    /// The time to wait for the peer's end after ours.
    package var lingerTimeout: Nanoseconds = 5_000_000_000
    /// The most bytes to discard during that wait.
    package var lingerLimit = 16 << 20
    /// The longest time from the accept to the end of a PROXY header.
    package var proxyHeaderTimeout: Nanoseconds = 5_000_000_000
    /// Connections are counted by host.
    package var countsHosts = false
    /// Connected datagram sockets may receive several datagrams merged (UDP_GRO).
    package var receiveOffload = false
    /// Datagrams of one size to one receiver are sent together.
    package var segmentationOffload = false
    /// Completions handled between two checks of timers and other threads' messages.
    @usableFromInline package var completionsPerTurn = 512
    package var mailboxCapacity = 65_536
    /// The most connections and listeners of a loop; fewer in tests.
    package var slotLimit = Int(Token.slotLimit)
    /// Makes the filters of secured connections that listeners accept, and of those that we make.
    package var acceptingFilters: (any AcceptingFilters)?
    package var connectingFilters: (any ConnectingFilters)?
    /// The number of a connection's jobs, waiting or running, at which its input pauses.
    package var workLimit = 16
    /// The pool that runs the blocking work.
    package var workers: WorkerPool?
    /// Looks up the names to connect to.
    package var resolver: (any NameResolver)?
    /// The time between two attempts of a connect by name.
    package var attemptDelay: Nanoseconds = 250_000_000

    package init() {}
}

/// The action that a callback requests of the loop.
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

/// Receives a loop's events on its thread. No event is delivered inside another, except `preWrite`
/// when a handler flushes.
@usableFromInline
package protocol LoopDelegate: AnyObject {
    func boot(_ loop: Loop) throws -> LoopAction
    func tick(_ loop: Loop) throws -> LoopTick
    func opened(_ connection: ConnectionReference) throws -> LoopAction
    func traffic(_ connection: ConnectionReference) throws -> LoopAction
    func writable(_ connection: ConnectionReference) throws -> LoopAction
    func peerEnded(_ connection: ConnectionReference) throws -> LoopAction
    func preWrite(_ connection: ConnectionReference) throws -> LoopAction
    func closed(_ connection: ConnectionReference, _ cause: CloseCause) -> LoopAction
    /// The delegate for datagrams of the loop's own sockets; read once.
    var datagrams: any DatagramDelegate { get }
    /// Called after the last connection of the last loop.
    func shutDown(_ loop: Loop)
    /// The delegate that replaces this one when the loop has ended; holds no object of the program.
    var rest: any LoopDelegate { get }
}

/// Receives the datagrams of a loop's own sockets, on the loop's thread.
@usableFromInline
package protocol DatagramDelegate: AnyObject {
    /// Called for each datagram. `socket` is the index of its socket among the loop's listeners.
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

/// A message of another thread to a loop.
package enum LoopMessage: Sendable {
    /// A new connection, with the host that it was counted for, if hosts are counted.
    case adopt(AcceptedStream, listener: Int, host: SocketAddress?)
    case run(@Sendable (Loop) -> Void)
    /// A part of a task that lives on the loop.
    case job(UnownedJob)
    case startAccepting
    case resumeAccepting
    /// Stops accepting. Connections in the backlog are accepted first, within this time.
    case stopAccepting(within: Nanoseconds)
    /// Closes quiet connections, then all when the time is over.
    case drain(within: Nanoseconds)
    /// Ends the loop, when all loops are drained.
    case end
}

/// The part of a loop that other threads use.
package final class LoopRemote: Sendable {
    package let index: Int
    package let mailbox: Mailbox<LoopMessage>
    package let counters = LoopCounters()
    package let driverCounters: DriverCounters
    /// A request to resume accepting is queued already; one is enough.
    let isResuming = Atomic(false)
    /// Connections passed to this loop and not opened yet.
    let adoptions = PendingAdoptions()
    /// Bytes of datagrams from other threads that the loop has not sent yet.
    private let waitingDatagrams = Atomic(0)
    /// The limit of those bytes. A mailbox full of the largest datagrams would be 4 GiB.
    package static let datagramLimit = 4 << 20

    init(index: Int, capacity: Int, waker: any Waker, driverCounters: DriverCounters) {
        self.index = index
        mailbox = Mailbox(capacity: capacity, waker: waker)
        self.driverCounters = driverCounters
    }

    /// Connections that the loop has or will have.
    package var load: Int { counters.open + adoptions.waiting }

    /// Posts a closure, from any thread. False if the loop has ended or its mailbox is full.
    @discardableResult
    package func run(_ body: @escaping @Sendable (Loop) -> Void) -> Bool {
        post(.run(body)) == .accepted
    }

    /// Like `run`, but for a datagram of `count` bytes: false also if too many bytes are queued. A
    /// refusal is counted as a drop.
    package func send(bytes count: Int, _ body: @escaping @Sendable (Loop) -> Void) -> Bool {
        // The message needs memory too.
        let size = count + 64
        let sum = waitingDatagrams.add(size, ordering: .relaxed).newValue
        // A single datagram is never too large here: the kernel decides whether it can be sent.
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

    /// Passes a connection to the loop, with the host that it was counted for. False if the loop
    /// has ended.
    package func adopt(_ stream: AcceptedStream, listener: Int, host: SocketAddress?) -> Bool {
        adoptions.add()
        let message = LoopMessage.adopt(stream, listener: listener, host: host)
        guard post(message, always: true) != .accepted else { return true }
        _ = adoptions.remove()
        return false
    }

    /// Posts a message about the loop itself, which overtakes all others and is never refused.
    package func postFirst(_ message: LoopMessage) {
        _ = mailbox.post(message, always: true, first: true)
    }

    /// Posts a closure of the library like `postFirst`. False if the loop has ended.
    package func runFirst(_ body: @escaping @Sendable (Loop) -> Void) -> Bool {
        mailbox.post(.run(body), always: true, first: true) == .accepted
    }
}

/// The number of connections that an acceptor has passed to a loop and that are not open yet.
///
/// Bounded so that under a flood clients wait in the backlog, at no cost. In a mailbox they would
/// hold descriptors and delay all other messages.
final class PendingAdoptions: Sendable {
    private let count = Atomic(0)
    private let isAwaited = Atomic(false)

    /// An acceptor waits at this number, and resumes at a quarter of it.
    private static let limit = 64

    var waiting: Int { count.load(ordering: .relaxed) }
    var isNone: Bool { count.load(ordering: .sequentiallyConsistent) == 0 }

    /// Whether an acceptor should wait. Unlike `mustWait`, requests no notification.
    var isMany: Bool { count.load(ordering: .relaxed) >= Self.limit }

    func add() { count.add(1, ordering: .sequentiallyConsistent) }

    /// Counts an opened connection. True if an acceptor waits for this one.
    func remove() -> Bool {
        let left = count.subtract(1, ordering: .sequentiallyConsistent).newValue
        guard left <= Self.limit / 4, isAwaited.load(ordering: .sequentiallyConsistent) else {
            return false
        }
        return isAwaited.exchange(false, ordering: .sequentiallyConsistent)
    }

    /// Whether the acceptor must wait; if so, the loop notifies it when it can resume.
    func mustWait() -> Bool {
        guard count.load(ordering: .sequentiallyConsistent) >= Self.limit else { return false }
        isAwaited.store(true, ordering: .sequentiallyConsistent)
        // The loop may have opened the last of them before it could see the waiting acceptor.
        return count.load(ordering: .sequentiallyConsistent) > Self.limit / 4
    }
}
