/// The seam: a proactor of streams, pulled.
///
/// A driver takes operations and yields completions; whether the kernel is asked for readiness or
/// for completions is its own affair. One per loop; made, used and destroyed by the loop's thread.
/// Completions are pulled, not pushed, so nothing re-enters a driver and a loop may stop when its
/// turn's budget is spent: the rest waits here or in the kernel.
@usableFromInline
package protocol Driver: AnyObject {
    /// The loop's clock, monotonic, as of the last `wait(until:)`; virtual in simulation.
    var now: Nanoseconds { get }

    /// The same clock at this moment, for what must not be early; a little dearer.
    var clock: Nanoseconds { get }

    /// Gives `token` its descriptor. It belongs to the driver until `closed`.
    func attach(_ descriptor: Descriptor, as token: Token)

    /// Never blocks, never delivers, never fails: failures come as completions.
    func submit(_ operation: Operation, for token: Token)

    /// As `submit(.send)`; but if the kernel takes all bytes at once, true is answered instead of a
    /// completion. For who has nothing else to do then: most replies go this way, and nothing is
    /// queued for them.
    func send(_ bytes: UnsafeRawPointer, _ count: Int, for token: Token) -> Bool

    /// Sends what the socket takes this moment and says how much that was: nothing of it stays
    /// pending, and no completion follows. Not while a send is in flight. An error is told by the
    /// next send.
    func sendNow(_ bytes: UnsafeRawBufferPointer, for token: Token) -> Int

    /// Hands over what is queued and waits for at least one completion, a wake-up or the deadline
    /// (nil: none; a deadline that has passed: do not wait). May also return with nothing. Returns
    /// at once while completions are left to pull.
    func wait(until deadline: Nanoseconds?) throws(SystemError)

    /// Hands over what is queued now instead of with the next `wait(until:)`. Delivers nothing.
    func handOver()

    /// The next completion, or nil when another `wait` is due. Its bytes are lent until the next
    /// call.
    func next() -> Completion?

    /// Whether input may wait to be pulled that is in its socket no longer, where `Sockets` would
    /// see it.
    var mayHoldInput: Bool { get }

    /// The peer of the connection that the last completion brought, an `accepted`.
    var acceptedPeer: SocketAddress? { get }

    /// Has `loop` pull what there is, as far as its turn goes; true if there was anything. Asked of
    /// the driver only so that `Loop.pull(from:)` is compiled for its type, into its module.
    func feed(_ loop: Loop) -> Bool

    /// The only part that another thread may use.
    var waker: any Waker { get }

    /// What it has counted; read from any thread.
    var counters: DriverCounters { get }

    /// Ends every operation, closes every attached descriptor, and gives back the driver's own
    /// descriptors and buffers, since the program may keep the loop. Only the clock is asked
    /// afterwards.
    func shutDown()
}

extension Driver {
    @inlinable
    package func feed(_ loop: Loop) -> Bool { loop.pull(from: self) }
}

/// Ends a driver's wait from any thread: the one in progress, or else the next one.
///
/// Outlives its driver: a wake-up after the loop has ended is harmless, and never reaches a reused
/// descriptor.
@usableFromInline
package protocol Waker: AnyObject, Sendable {
    func wake()
}

/// Nanoseconds on a loop's monotonic clock, or between two of its times. Plain, since a `Duration`
/// conversion costs up to two hundred instructions in a hot path.
@usableFromInline
package typealias Nanoseconds = Int64
