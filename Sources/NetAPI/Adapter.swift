internal import MillraceEventLoop

/// The adapter between a loop and a user's handler: translates events, and the handler's answers.
///
/// Generic, so that an event reaches the handler without the indirection of an existential.
final class Adapter<Handler: EventHandler>: ServerLoopDelegate {
    private let handler: Handler
    private let loops: any LoopHandler
    let datagrams: any DatagramDelegate
    /// Indicates whether the handler boots, ticks and shuts down on this loop: a shared handler
    /// does so on one loop only.
    private let isPrimary: Bool
    let server: Server

    /// `loops` is the same handler, unless the handler serves datagrams only.
    fileprivate init(
        _ handler: Handler, loops: any LoopHandler, isPrimary: Bool, server: Server
    ) {
        self.handler = handler
        self.loops = loops
        datagrams = (loops as? any DatagramHandler ?? NoDatagrams()).adapter
        self.isPrimary = isPrimary
        self.server = server
    }

    func boot(_ loop: LoopCore) throws -> LoopAction {
        guard isPrimary else { return .none }
        return try loops.onBoot(Loop(core: loop)).asked
    }

    func tick(_ loop: LoopCore) throws -> LoopTick {
        guard isPrimary else { return .never }
        return try loops.onTick(Loop(core: loop)).next
    }

    func opened(_ connection: ConnectionReference) throws -> LoopAction {
        try handler.onOpen(Connection(connection)).asked
    }

    @inline(__always)
    func traffic(_ connection: ConnectionReference) throws -> LoopAction {
        try handler.onTraffic(Connection(connection)).asked
    }

    func writable(_ connection: ConnectionReference) throws -> LoopAction {
        try handler.onWritable(Connection(connection)).asked
    }

    func peerEnded(_ connection: ConnectionReference) throws -> LoopAction {
        try handler.onHalfClose(Connection(connection)).asked
    }

    func preWrite(_ connection: ConnectionReference) throws -> LoopAction {
        try handler.preWrite(Connection(connection)).asked
    }

    func closed(_ connection: ConnectionReference, _ cause: CloseCause) -> LoopAction {
        handler.onClose(Connection(connection), CloseReason(cause)).asked
    }

    func shutDown(_ loop: LoopCore) {
        if isPrimary { loops.onShutdown(server) }
    }

    /// The delegate of a loop that is kept after its end: such a loop still knows its server.
    var rest: any LoopDelegate { NoConnections().adapter(isPrimary: false, server: server) }
}

/// The adapter of a handler for datagrams, generic for the same reason as `Adapter`.
private final class DatagramAdapter<Handler: DatagramHandler>: DatagramDelegate {
    private let handler: Handler
    /// One entry for each of the loop's listeners, set when its first datagram arrives. Unmanaged,
    /// so that no datagram costs reference counting; released in `deinit`.
    @exclusivity(unchecked) private var places: [Unmanaged<DatagramPlace>?] = []

    init(_ handler: Handler) { self.handler = handler }

    deinit { for place in places { place?.release() } }

    func datagram(
        _ datagram: UnsafePointer<ReceivedDatagram>, on loop: LoopCore, socket index: Int
    ) throws -> LoopAction {
        if index < places.count, let place = places[index] {
            return try handler.onDatagram(Datagram(datagram, loop, place)).asked
        }
        return try handler.onDatagram(Datagram(datagram, loop, makePlace(index, loop))).asked
    }

    private func makePlace(
        _ index: Int, _ loop: LoopCore
    ) -> Unmanaged<DatagramPlace> {
        while places.count <= index { places.append(nil) }
        let place = Unmanaged.passRetained(
            DatagramPlace(
                remote: loop.remote, index: index,
                localAddress: Address(loop.boundAddress(index), isDatagram: true)))
        places[index] = place
        return place
    }
}

extension DatagramHandler {
    fileprivate var adapter: any DatagramDelegate { DatagramAdapter(self) }
}

/// The delegate from which a loop gets its server.
protocol ServerLoopDelegate: LoopDelegate {
    var server: Server { get }
}

extension LoopHandler {
    /// Returns the delegate of a loop. `Server.init` has checked that the handler has each callback
    /// that will be called.
    func adapter(isPrimary: Bool, server: Server) -> any LoopDelegate {
        func adapter<Handler: EventHandler>(_ handler: Handler) -> any LoopDelegate {
            Adapter(handler, loops: self, isPrimary: isPrimary, server: server)
        }
        guard let handler = self as? any EventHandler else { return adapter(NoConnections()) }
        return adapter(handler)
    }
}

/// The connection callbacks of a handler for datagrams only.
private struct NoConnections: EventHandler {
    func onTraffic(_ connection: Connection) -> Action { .close }
}

/// The datagram callback of a handler for connections only.
private struct NoDatagrams: DatagramHandler {
    func onDatagram(_ datagram: Datagram) -> Action { .none }
}

extension Action {
    fileprivate var asked: LoopAction {
        switch self {
        case .none: .none
        case .close: .close
        case .shutdown: .shutdown
        }
    }
}

extension CloseReason {
    init(_ cause: CloseCause) {
        self =
            switch cause {
            case .local: .local
            case .peer: .peer
            case .reset(let error): .reset(NetError(error))
            case .filter(let error): .reset(NetError(insecure: error))
            case .handlerError(is OffloadRefused): .handlerError(NetError.tooMuchOffloaded)
            case .handlerError(let error): .handlerError(error)
            case .timeout: .timeout
            case .inboundOverflow: .inboundOverflow
            case .outboundOverflow: .outboundOverflow
            case .shutdown: .shutdown
            }
    }
}
