// The handler of one loop: its visitors, from their first request to their last frame.
import NetAPI
import ServerCommand
import WebSocketCodec

final class ChatHandler: EventHandler {
    /// The period at which the handler looks for a stop of the server.
    private static let tickPeriod = Duration.milliseconds(200)
    /// The ticks of a second, after which statistics are sent and events are counted anew.
    private static let ticksPerSecond = 5

    let settings: ChatSettings
    let room: Room
    let responder = Responder()
    let visitors: PerConnection<Visitor>
    /// The members on this loop; set before the first connection.
    private(set) var audience: Audience?
    private var ticks = 0

    init(_ settings: ChatSettings, _ room: Room) {
        self.settings = settings
        self.room = room
        visitors = PerConnection(Visitor(settings))
    }

    func onBoot(_ loop: Loop) -> Action {
        audience = room.add(loop)
        if loop.index == 0 { announce(loop.server) }
        return .none
    }

    func onOpen(_ connection: Connection) -> Action {
        awaitRequest(connection, connection[visitors])
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action {
        let visitor = connection[visitors]
        if visitor.phase == .requests, serve(connection, visitor) == .close { return .close }
        // The client's first frames may have come together with its handshake.
        guard visitor.talks, connection.buffered > 0 else { return .none }
        return talk(connection, visitor)
    }

    func onWritable(_ connection: Connection) -> Action { onTraffic(connection) }

    /// Called for a WebSocket, which is always busy. Its peer has gone without a close frame.
    func onHalfClose(_ connection: Connection) -> Action { .close }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        leave(connection, connection[visitors])
        return .none
    }

    func onTick(_ loop: Loop) -> Tick {
        ticks += 1
        if loop.isStopping {
            for connection in loop.connections {
                let visitor = connection[visitors]
                guard visitor.talks else { continue }
                end(connection, visitor, .goingAway, "the server stops")
                connection.close()
            }
        } else if ticks % Self.ticksPerSecond == 0 {
            beginSecond(loop)
        }
        return .after(Self.tickPeriod)
    }

    private func beginSecond(_ loop: Loop) {
        var frame: [UInt8] = []
        for connection in loop.connections {
            let visitor = connection[visitors]
            visitor.events = 0
            // A slow reader gets its messages first.
            guard visitor.talks, connection.isWritable else { continue }
            if frame.isEmpty { frame = ChatEvent.statistics(of: loop.server, room) }
            connection.write(frame)
        }
    }

    /// Sends a close frame. The caller closes the connection. The library discards the input that
    /// follows, the peer's answer among it.
    func end(
        _ connection: Connection, _ visitor: Visitor, _ code: CloseCode?, _ reason: String = ""
    ) {
        leave(connection, visitor)
        connection.write(FrameWriter.close(code, reason))
    }

    private func leave(_ connection: Connection, _ visitor: Visitor) {
        if case .member(let id) = visitor.phase {
            room.leave(id, isStop: connection.loop.isStopping)
        }
        visitor.phase = .closing
        visitor.timer?.cancel()
        visitor.timer = nil
    }
}
