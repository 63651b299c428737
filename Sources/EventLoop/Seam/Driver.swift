/// The seam between loop and backend: operations go in, completions are pulled out.
///
/// A driver decides itself whether it asks the kernel for readiness or for completions. Each loop
/// has one, made, used and destroyed on the loop's thread. Completions are pulled, so no call
/// re-enters a driver. A loop may stop when its turn's budget is used up: further completions stay
/// in the driver or the kernel.
@usableFromInline
package protocol Driver: AnyObject {
    /// The loop's monotonic clock, as of the last `wait(until:)`; virtual in simulation.
    var now: Nanoseconds { get }

    /// The same clock at this moment, for times that must not be early. Costs a little more than
    /// `now`.
    var clock: Nanoseconds { get }

    /// Assigns a descriptor to `token`. It belongs to the driver until `closed`.
    func attach(_ descriptor: Descriptor, as token: Token)

    /// Starts an operation. Never blocks, delivers or fails: failures are reported as completions.
    func submit(_ operation: Operation, for token: Token)

    /// Like `submit(.send)`, but returns true if the kernel accepts all bytes at once; then no
    /// completion follows. For callers that do no more than count a sent reply. Most replies are
    /// sent this way, without a queued completion.
    func send(_ bytes: UnsafeRawPointer, _ count: Int, for token: Token) -> Bool

    /// Sends as much as the socket accepts at this moment and returns the number of bytes. No part
    /// stays pending and no completion follows. Not called while a send is in flight. The next send
    /// reports an error.
    func trySend(_ bytes: UnsafeRawBufferPointer, for token: Token) -> Int

    /// Submits queued operations and waits for at least one completion, a wake-up or the deadline.
    /// Nil means no deadline; with a past deadline the call does not wait. May return without any
    /// of these. Returns at once while completions are left to pull.
    func wait(until deadline: Nanoseconds?) throws(SystemError)

    /// Submits queued operations now, not with the next `wait(until:)`. Delivers nothing.
    func flushSubmissions()

    /// Returns the next completion, or nil when another `wait` is due. Its bytes are valid until
    /// the next call.
    func next() -> Completion?

    /// Whether the driver may hold input that has left its socket and was not pulled yet. `Sockets`
    /// cannot see such input.
    var mayHoldInput: Bool { get }

    /// The peer of the last `accepted` completion's connection.
    var acceptedPeer: SocketAddress? { get }

    /// Has `loop` process completions up to its turn's budget; true if there were any. This is a
    /// requirement only so that `Loop.processCompletions(from:)` is compiled for the driver's type,
    /// in its module.
    func processCompletions(for loop: Loop) -> Bool

    /// The driver's only part that other threads may use.
    var waker: any Waker { get }

    /// The driver's counters, readable from any thread.
    var counters: DriverCounters { get }

    /// Ends every operation, closes every attached descriptor, and frees the driver's own
    /// descriptors and buffers, since the program may keep the loop. Afterwards only the clock is
    /// used.
    func shutDown()
}

extension Driver {
    @inlinable
    package func processCompletions(for loop: Loop) -> Bool { loop.processCompletions(from: self) }
}

/// Ends a driver's wait from any thread: the current wait, or else the next one.
///
/// Outlives its driver. A wake-up after the loop has ended is harmless and never reaches a reused
/// descriptor.
@usableFromInline
package protocol Waker: AnyObject, Sendable {
    func wake()
}

/// Nanoseconds on a loop's monotonic clock, or between two of its times. An integer, since a
/// `Duration` conversion costs up to two hundred instructions in a hot path.
@usableFromInline
package typealias Nanoseconds = Int64
