internal import EventLoop

/// Between a loop and a user's handler: translates events, and what the handler answers.
final class Adapter: LoopDelegate {
    private let handler: any EventHandler
    /// A handler shared by all loops boots, ticks and shuts down on one of them.
    private let isPrimary: Bool
    let server: Server

    init(_ handler: any EventHandler, isPrimary: Bool, server: Server) {
        self.handler = handler
        self.isPrimary = isPrimary
        self.server = server
    }

    func boot(_ loop: EventLoop.Loop) throws -> LoopAction {
        guard isPrimary else { return .none }
        return try handler.onBoot(Loop(core: loop)).asked
    }

    func tick(_ loop: EventLoop.Loop) throws -> LoopTick {
        guard isPrimary else { return .never }
        return try handler.onTick(Loop(core: loop)).next
    }

    func opened(_ connection: ConnectionReference) throws -> LoopAction {
        try handler.onOpen(Connection(connection)).asked
    }

    func traffic(_ connection: ConnectionReference) throws -> LoopAction {
        try handler.onTraffic(Connection(connection)).asked
    }

    func writable(_ connection: ConnectionReference) throws -> LoopAction {
        try handler.onWritable(Connection(connection)).asked
    }

    func peerEnded(_ connection: ConnectionReference) throws -> LoopAction {
        try handler.onHalfClose(Connection(connection)).asked
    }

    func willWrite(_ connection: ConnectionReference) throws -> LoopAction {
        try handler.preWrite(Connection(connection)).asked
    }

    func closed(_ connection: ConnectionReference, _ cause: CloseCause) -> LoopAction {
        handler.onClose(Connection(connection), CloseReason(cause)).asked
    }

    func shutDown(_ loop: EventLoop.Loop) {
        if isPrimary { handler.onShutdown(server) }
    }
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
            case .handlerError(let error): .handlerError(error)
            case .timeout: .timeout
            case .inboundOverflow: .inboundOverflow
            case .outboundOverflow: .outboundOverflow
            case .shutdown: .shutdown
            }
    }
}
