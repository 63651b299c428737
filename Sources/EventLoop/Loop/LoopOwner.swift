/// The object that started the loops, by its concerns. Called from the loops' threads.
package typealias LoopOwner = LoopLifecycle & ListenerOwner & ConnectionLimits & LoopReporting

/// The steps that loops take together.
package protocol LoopLifecycle: AnyObject, Sendable {
    func stopRequested(_ cause: StopCause)
    /// Called when a loop that an acceptor waited for has caught up.
    func caughtUp()
    /// Called when this loop accepts no more and its backlogs are empty.
    func acceptingStopped(_ loop: Int)
    /// Called when this loop has no connection left.
    func drained(_ loop: Int)
}

/// Knows which listeners other servers have too.
package protocol ListenerOwner: AnyObject, Sendable {
    /// Whether another server accepts on this socket too, or may do so.
    func isHandedOut(_ listener: BoundListener) -> Bool
    /// Called when a listener is about to close. False if its path must stay, since another server
    /// has the socket.
    func listenerCloses(_ listener: BoundListener) -> Bool
    /// Whether its address is to end. The message to end may overtake that to begin.
    func isEnding(_ listener: BoundListener) -> Bool
    /// Called when its descriptor is closed.
    func listenerClosed(_ listener: BoundListener)
}

/// Counts the connections of all loops, and of each host, against their limits.
package protocol ConnectionLimits: AnyObject, Sendable {
    /// Counts one more connection, if the limit leaves room for it and for those that are parked.
    func takeRoom() -> Bool
    /// Called when an accepted connection found no room. It has priority over connections accepted
    /// later on any loop, so that its wait ends.
    func connectionParked()
    /// Like `takeRoom`, but for a parked connection, which is then no longer parked.
    func takeRoomForParked() -> Bool
    /// Counts a parked connection that is served regardless of the limit.
    func parkedConnectionAdded()
    /// Counts one more connection, regardless of the limit.
    func connectionAdded()
    func connectionClosed()
    /// Called when an accept has failed, and before it is tried again. The next connection that
    /// closes, on any loop, then resumes accepting.
    func acceptAwaitsClose()
    /// Counts one more connection of a host. False, without counting, if the host is at its limit.
    func hostConnected(_ host: SocketAddress) -> Bool
    func hostDisconnected(_ host: SocketAddress)
    /// Whether a connection that is yet to be accepted would have room.
    var hasRoom: Bool { get }
}

/// Reports degraded states that an operator should see.
package protocol LoopReporting: AnyObject, Sendable {
    func report(_ event: LoopReport)
}

package enum StopCause: Sendable {
    case requested
    case shutdownAction
    case failed(any Error)
}

package enum LoopReport: Sendable {
    case acceptBackOff(SystemError, listener: Int, retryIn: Nanoseconds)
    case acceptPaused(listener: Int)
    /// This loop opens connections more slowly than they are passed to it: accepting waits for it.
    case acceptorWaits(loop: Int)
    case driverFailed(SystemError, loop: Int)
    case slotsExhausted(loop: Int)
    case datagramHandlerFailed(String)
    /// A secured connection was not established, with the reason in words.
    case handshakeFailed(String, peer: SocketAddress?)
    /// Callbacks ran for this long.
    case slowTurn(loop: Int, Nanoseconds)
    /// A loop runs on epoll, although io_uring was preferred; with the reason in words.
    case backendFellBack(String)
    /// A loop's ring has fewer entries than configured.
    case ringShrunk(entries: Int)
    /// A minimum wait is configured, but this kernel does not support one.
    case minimumWaitIgnored
}
