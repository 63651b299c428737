internal import EventLoop

// What a user implements: three small protocols and what their callbacks return.

/// What every handler may observe of its loops. All requirements have defaults.
///
/// Callbacks are called on the loop's thread, one at a time per loop, and must not block it.
public protocol LoopHandler: SendableMetatype {
    /// Once per handler instance, on its loop, when addresses are bound and before the first
    /// connection. A handler shared by all loops is asked on loop 0. An error fails
    /// `Server.start()`; `.shutdown` stops the server at once.
    func onBoot(_ loop: Loop) throws -> Action
    /// Once per handler instance at once after boot, then after each delay returned. An error stops
    /// the server.
    func onTick(_ loop: Loop) throws -> Tick
    /// Once per handler instance, its last callback: after the last `onClose` of all loops, also
    /// where one of them has failed. A handler shared by all loops is told on loop 0.
    func onShutdown(_ server: Server)
}

extension LoopHandler {
    public func onBoot(_ loop: Loop) throws -> Action { .none }
    public func onTick(_ loop: Loop) throws -> Tick { .never }
    public func onShutdown(_ server: Server) {}
}

/// Serves connections: TCP, Unix, and UDP sockets that a client has connected.
///
/// An error thrown by a callback closes that connection: what was written is sent first, and
/// `onClose` is told `.handlerError`. Copy the signatures exactly: a requirement with a default
/// that is misspelt compiles and is never called.
public protocol EventHandler: LoopHandler {
    /// New bytes, or `wake()`. What is left unread stays and is shown again with the next bytes.
    /// The only callback that must be written.
    func onTraffic(_ connection: Connection) throws -> Action
    /// First for each connection; what it writes is the first thing that the peer receives.
    func onOpen(_ connection: Connection) throws -> Action
    /// Outbound bytes fell to the low mark after `isWritable` had been false.
    func onWritable(_ connection: Connection) throws -> Action
    /// The peer ended its side and all its bytes have been shown. Only with
    /// `Options.allowHalfClosure`, or while `Connection.isBusy`.
    func onHalfClose(_ connection: Connection) throws -> Action
    /// Just before gathered bytes go to the socket; may write more.
    func preWrite(_ connection: Connection) throws -> Action
    /// Exactly once, last. The connection's addresses and state can still be read; nothing can be
    /// written.
    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action
}

extension EventHandler {
    public func onOpen(_ connection: Connection) throws -> Action { .none }
    public func onWritable(_ connection: Connection) throws -> Action { .none }
    public func onHalfClose(_ connection: Connection) throws -> Action { .none }
    public func onClose(_ connection: Connection, _ reason: CloseReason) -> Action { .none }

    public func preWrite(_ connection: Connection) throws -> Action {
        // Reached only if the handler has none of its own: it need not be asked again.
        connection.core?.handlerWantsWillWrite = false
        return .none
    }
}

/// Serves unconnected UDP sockets: those that a server listens on.
///
/// An error that it throws drops the datagram and is counted in `Statistics.datagramErrors`: there
/// is no connection that it could close.
public protocol DatagramHandler: LoopHandler {
    /// Once per datagram, of 0 to 65,507 bytes. `.close` is the same as `.none`.
    func onDatagram(_ datagram: Datagram) throws -> Action
}

/// What a callback asks of its loop.
public enum Action: Sendable {
    /// Go on.
    case none
    /// Send what was written, then close this connection. From `onBoot` the same as `.none`.
    case close
    /// As `close`, then stop the whole server gracefully.
    case shutdown
}

/// When to tick next.
public struct Tick: Sendable {
    let next: LoopTick

    /// No more ticks.
    public static let never = Tick(next: .never)
    /// Stop the server gracefully.
    public static let shutdown = Tick(next: .shutdown)
    /// Tick again after `delay`; with zero, in the next turn of the loop.
    public static func after(_ delay: Duration) -> Tick { Tick(next: .after(Nanoseconds(delay))) }
}

/// Why a connection closed. More cases may come: give a switch a `default`.
@nonexhaustive
public enum CloseReason: Sendable {
    /// `.close`, `close()` or `abort()`.
    case local
    /// The peer ended the stream.
    case peer
    /// A reset by the peer, or another error of the socket.
    case reset(NetError)
    /// A callback threw this.
    case handlerError(any Error)
    /// Idle for too long, or closing without progress.
    case timeout
    /// The handler left more unread than `Options.Limits.inboundBytes`.
    case inboundOverflow
    /// More was written than `Options.Limits.outboundBytes` while the peer did not take it.
    case outboundOverflow
    /// The server stopped.
    case shutdown
}
