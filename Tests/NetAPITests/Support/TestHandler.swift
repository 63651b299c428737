/// A handler made of closures, so that a test sets only those that it needs; it echoes by default.
import NetAPI

struct TestHandler: EventHandler, Sendable {
    typealias OnLoop<Output> = @Sendable (Loop) throws -> Output
    typealias OnConnection = @Sendable (Connection) throws -> Action

    static let echo: OnConnection = { connection in
        connection.write(connection.next())
        return .none
    }

    /// Reads nothing, so that input stays unread.
    static let ignore: OnConnection = { _ in .none }

    let log = EventLog()
    var boot: OnLoop<Action> = { _ in .none }
    var tick: OnLoop<Tick> = { _ in .never }
    var shutdown: @Sendable (Server) -> Void = { _ in }
    var open: OnConnection = { _ in .none }
    var traffic: OnConnection = Self.echo
    var writable: OnConnection = { _ in .none }
    var halfClose: OnConnection = { _ in .none }
    var close: @Sendable (Connection, CloseReason) -> Action = { _, _ in .none }

    func onBoot(_ loop: Loop) throws -> Action {
        try log.during(.boot) { try boot(loop) }
    }

    func onTick(_ loop: Loop) throws -> Tick {
        try log.during(.tick) { try tick(loop) }
    }

    func onShutdown(_ server: Server) {
        log.during(.shutdown) { shutdown(server) }
    }

    func onOpen(_ connection: Connection) throws -> Action {
        try log.during(.open, connection) { try open(connection) }
    }

    func onTraffic(_ connection: Connection) throws -> Action {
        try log.during(.traffic, connection) { try traffic(connection) }
    }

    func onWritable(_ connection: Connection) throws -> Action {
        try log.during(.writable, connection) { try writable(connection) }
    }

    func onHalfClose(_ connection: Connection) throws -> Action {
        try log.during(.halfClose, connection) { try halfClose(connection) }
    }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        // Recorded after the closure has run, so that a waiting test sees its effects.
        defer { log.add(.close, connection, reason: reason) }
        return close(connection, reason)
    }
}

/// An error for a handler to throw.
struct Mishap: Error, Equatable {
    var text = "mishap"
}
