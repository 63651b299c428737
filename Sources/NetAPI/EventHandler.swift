internal import MillraceEventLoop

// The interface that a user implements: three small protocols and the return values of their
// callbacks.

/// The callbacks of a loop, for every kind of handler. All requirements have defaults.
///
/// Callbacks run on the loop's thread, one at a time per loop, and must not block it.
public protocol LoopHandler: SendableMetatype {
    /// Called once per handler instance, on its loop, when addresses are bound and before the first
    /// connection; for the handler of a `Client` too. A handler shared by all loops is called on
    /// loop 0. An error fails `start()`; `.shutdown` stops the server or client at once.
    func onBoot(_ loop: Loop) throws -> Action
    /// Called once per handler instance right after boot, then after each returned delay. An error
    /// stops the server.
    func onTick(_ loop: Loop) throws -> Tick
    /// Called last, once per handler instance: after the last `onClose` of all loops, also if one
    /// of the loops has failed. A handler shared by all loops is called on loop 0.
    func onShutdown(_ server: Server)
}

extension LoopHandler {
    public func onBoot(_ loop: Loop) throws -> Action { .none }
    public func onTick(_ loop: Loop) throws -> Tick { .never }
    public func onShutdown(_ server: Server) {}
}

/// The callbacks of connections: TCP, Unix, and UDP sockets that a client has connected.
///
/// An error from a callback closes that connection: written bytes are sent first, and `onClose`
/// gets `.handlerError`. Copy the signatures exactly: a misspelt requirement that has a default
/// compiles and is never called.
public protocol EventHandler: LoopHandler {
    /// Called when new bytes arrive, or after `wake()`. Unread bytes are kept and shown again with
    /// the next bytes. The only callback without a default.
    func onTraffic(_ connection: Connection) throws -> Action
    /// Called first for each connection. Only the closure of a `connect` runs before it. Its bytes
    /// are the first that the peer receives, unless that closure has written.
    func onOpen(_ connection: Connection) throws -> Action
    /// Called when unsent bytes have fallen to the low mark after `isWritable` was false.
    func onWritable(_ connection: Connection) throws -> Action
    /// Called when the peer has ended its side and all its bytes have been shown. Only with
    /// `Options.allowHalfClosure`, or while `Connection.isBusy`.
    func onHalfClose(_ connection: Connection) throws -> Action
    /// Called just before gathered bytes go to the socket; may write more.
    func preWrite(_ connection: Connection) throws -> Action
    /// Called exactly once, as the last callback. The connection's addresses and state can still be
    /// read, but nothing can be written.
    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action
}

extension EventHandler {
    public func onOpen(_ connection: Connection) throws -> Action { .none }
    public func onWritable(_ connection: Connection) throws -> Action { .none }
    public func onHalfClose(_ connection: Connection) throws -> Action { .none }
    public func onClose(_ connection: Connection, _ reason: CloseReason) -> Action { .none }

    public func preWrite(_ connection: Connection) throws -> Action {
        // Reached only if the handler has no `preWrite` of its own: the loop need not call it
        // again.
        connection.core?.handlerWantsPreWrite = false
        return .none
    }
}

/// The callback of unconnected UDP sockets: those that a server listens on.
///
/// Each address has one socket, which one loop reads: the n-th address of the list is on loop n, in
/// turn. With `Options.reusePort` each loop has a socket of its own, and the kernel spreads the
/// senders.
///
/// An error drops the datagram and is counted in `Statistics.datagramErrors`, because there is no
/// connection to close.
public protocol DatagramHandler: LoopHandler {
    /// Called once per datagram, of 0 to 65,507 bytes, on the socket's loop. `.close` is the same
    /// as `.none`.
    func onDatagram(_ datagram: Datagram) throws -> Action
}

/// The request of a callback to its loop.
public enum Action: Sendable {
    /// Continues.
    case none
    /// Sends the written bytes, then closes this connection. From `onBoot` it is the same as
    /// `.none`.
    case close
    /// Like `close`, but also stops the whole server gracefully.
    case shutdown
}

/// The time of the next tick.
public struct Tick: Sendable {
    let next: LoopTick

    /// No more ticks.
    public static let never = Tick(next: .never)
    /// Stops the server gracefully.
    public static let shutdown = Tick(next: .shutdown)
    /// Returns a tick after `delay`; with zero, in the next turn of the loop.
    public static func after(_ delay: Duration) -> Tick { Tick(next: .after(Nanoseconds(delay))) }
}

/// The reason for which a connection closed. More cases may come: give a switch a `default`.
@nonexhaustive
public enum CloseReason: Sendable {
    /// The program called `close()` or `abort()`, or a callback returned `.close`.
    case local
    /// The peer ended the stream.
    case peer
    /// The peer reset the connection, or the socket had another error.
    case reset(NetError)
    /// A callback threw this error.
    case handlerError(any Error)
    /// A timeout: `idle`, `read` or `write`, or `close` without progress.
    case timeout
    /// The handler left more unread than `Options.Limits.inboundBytes`.
    case inboundOverflow
    /// More than `Options.Limits.outboundBytes` was written while the peer did not accept it.
    case outboundOverflow
    /// The server stopped.
    case shutdown
}
