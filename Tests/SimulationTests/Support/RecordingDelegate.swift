import MillraceEventLoop

/// Records a handler's callbacks in order, and runs the test's closures in them.
final class RecordingDelegate: LoopDelegate, DatagramDelegate {
    enum Told: Equatable {
        case opened
        /// With all unread bytes, which it reads unless `leavesUnread`.
        case traffic([UInt8])
        case writable
        case peerEnded
        case closed(String)
    }

    typealias Deed = (Loop, ConnectionReference) -> Void

    var onBoot: ((Loop) throws -> Void)?
    var onTick: ((Loop) -> Void)?
    var leavesUnread = false
    var onOpened: Deed?
    var onTraffic: ((Loop, ConnectionReference, [UInt8]) -> Void)?
    var onWritable: Deed?
    var onPreWrite: Deed?
    private(set) var lastOpened: Token?
    /// The number of shutdown callbacks.
    private(set) var shutDowns = 0
    private var told: [Token: [Told]] = [:]

    func forgetDeeds() {
        onTick = nil
        onOpened = nil
        onTraffic = nil
        onWritable = nil
        onPreWrite = nil
    }

    /// Returns a connection's callbacks since the last call.
    func take(_ token: Token) -> [Told] { told.removeValue(forKey: token) ?? [] }

    private func note(_ event: Told, _ connection: ConnectionReference) -> Loop {
        told[connection.token, default: []].append(event)
        return connection.loop.takeUnretainedValue()
    }

    func boot(_ loop: Loop) throws -> LoopAction {
        try onBoot?(loop)
        return .none
    }

    func tick(_ loop: Loop) -> LoopTick {
        onTick?(loop)
        return .never
    }

    var rest: any LoopDelegate { self }

    func opened(_ connection: ConnectionReference) -> LoopAction {
        let loop = note(.opened, connection)
        lastOpened = connection.token
        onOpened?(loop, connection)
        return .none
    }

    func traffic(_ connection: ConnectionReference) -> LoopAction {
        let core = connection.loop.takeUnretainedValue()
        let bytes =
            leavesUnread
            ? core.peek(connection, connection.inbound.count).map { Array($0) } ?? []
            : Array(core.takeAll(connection))
        let loop = note(.traffic(bytes), connection)
        onTraffic?(loop, connection, bytes)
        return .none
    }

    func writable(_ connection: ConnectionReference) -> LoopAction {
        let loop = note(.writable, connection)
        onWritable?(loop, connection)
        return .none
    }

    func peerEnded(_ connection: ConnectionReference) -> LoopAction {
        _ = note(.peerEnded, connection)
        return .none
    }

    /// Not recorded: it is called only while the loop's `handlerWantsPreWrite` is set.
    func preWrite(_ connection: ConnectionReference) -> LoopAction {
        onPreWrite?(connection.loop.takeUnretainedValue(), connection)
        return .none
    }

    func closed(_ connection: ConnectionReference, _ cause: CloseCause) -> LoopAction {
        _ = note(.closed(name(of: cause)), connection)
        return .none
    }

    var datagrams: any DatagramDelegate { self }
    func datagram(
        _ datagram: UnsafePointer<ReceivedDatagram>, on loop: Loop, socket: Int
    ) -> LoopAction { .none }

    func shutDown(_ loop: Loop) { shutDowns += 1 }

    private func name(of cause: CloseCause) -> String {
        if case .reset(let error) = cause { return "reset \(error.name)" }
        return "\(cause)"
    }
}
