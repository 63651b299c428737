internal import NetAPI

/// A test's handler, with a record of its connections. It adds no decision: each callback goes to
/// the handler, with its result and its error.
///
/// Like the library itself, it serves both kinds of callbacks and passes on those that the handler
/// has. `Server.init` has checked that the handler has each one that will be called.
struct Observed<Handler: LoopHandler>: EventHandler, DatagramHandler {
    let handler: Handler
    let record: HandlerRecord
    private let events: (any EventHandler)?
    private let datagrams: (any DatagramHandler)?

    init(_ handler: Handler, _ record: HandlerRecord) {
        self.handler = handler
        self.record = record
        events = handler as? any EventHandler
        datagrams = handler as? any DatagramHandler
    }

    func onBoot(_ loop: Loop) throws -> Action { try handler.onBoot(loop) }

    func onTick(_ loop: Loop) throws -> Tick { try handler.onTick(loop) }

    func onShutdown(_ server: Server) { handler.onShutdown(server) }

    func onOpen(_ connection: Connection) throws -> Action {
        record.opened(connection)
        return try events?.onOpen(connection) ?? .close
    }

    func onTraffic(_ connection: Connection) throws -> Action {
        record.note("onTraffic of \(record.name(connection)), \(connection.buffered) unread")
        return try events?.onTraffic(connection) ?? .close
    }

    func onWritable(_ connection: Connection) throws -> Action {
        record.note("onWritable of \(record.name(connection))")
        return try events?.onWritable(connection) ?? .none
    }

    func onHalfClose(_ connection: Connection) throws -> Action {
        record.note("onHalfClose of \(record.name(connection))")
        return try events?.onHalfClose(connection) ?? .none
    }

    func preWrite(_ connection: Connection) throws -> Action {
        try events?.preWrite(connection) ?? .none
    }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        record.closed(connection, reason)
        return events?.onClose(connection, reason) ?? .none
    }

    func onDatagram(_ datagram: Datagram) throws -> Action {
        try datagrams?.onDatagram(datagram) ?? .none
    }
}

// Unchecked: the stored existentials are the handler itself, and the record has one thread.
extension Observed: @unchecked Sendable where Handler: Sendable {}

/// The connections of a server or a client, as its handler saw them.
// Unchecked: one thread turns all loops of a network.
final class HandlerRecord: @unchecked Sendable {
    private let label: String
    private weak var engine: Engine?
    private(set) var opens = 0
    private(set) var reasons: [CloseReason] = []
    /// The connections of peers, by the port that no other peer of the network has.
    private(set) var connections: [UInt16: Entry] = [:]

    struct Entry {
        let handle: ConnectionHandle
        var reason: CloseReason?
    }

    init(_ label: String, _ engine: Engine) {
        self.label = label
        self.engine = engine
    }

    func note(_ line: @autoclosure () -> String) { engine?.note("\(label): \(line())") }

    /// A connection's name in the log: the port of the peer that it belongs to.
    func name(_ connection: Connection) -> String {
        port(of: connection).map { "peer :\($0)" } ?? "a peer without a port"
    }

    func opened(_ connection: Connection) {
        opens += 1
        note("onOpen of \(name(connection))")
        guard let port = port(of: connection) else { return }
        connections[port] = Entry(handle: connection.handle)
    }

    func closed(_ connection: Connection, _ reason: CloseReason) {
        reasons.append(reason)
        note("onClose of \(name(connection)), \(Close(reason))")
        guard let port = port(of: connection) else { return }
        connections[port]?.reason = reason
    }

    /// The port of the connecting side, which is unique in the network.
    private func port(of connection: Connection) -> UInt16? {
        (connection.isAccepted ? connection.remoteAddress : connection.localAddress).port
    }
}
