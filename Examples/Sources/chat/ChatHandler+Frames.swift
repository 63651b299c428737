// The frames of a visitor: a name, messages, pings, and the end.
import NetAPI
import WebSocketCodec

extension ChatHandler {
    /// Begins the WebSocket of a connection whose handshake was accepted.
    func begin(_ connection: Connection, _ visitor: Visitor) {
        visitor.phase = .unnamed
        // A stop leaves busy connections open. So the handler has time to send them a close frame.
        connection.isBusy = true
        // Other visitors cause this connection's output.
        connection.readsWhileCongested = true
        visitor.timer?.cancel()
        awaitName(connection, visitor)
        connection.write(ChatEvent.statistics(of: connection.server, room))
    }

    /// Reads all frames that have arrived.
    func talk(_ connection: Connection, _ visitor: Visitor) -> Action {
        visitor.isHeard = true
        var action = Action.none
        let taken = connection.bytes.withUnsafeBytes { bytes in
            var taken = 0
            while taken < bytes.count {
                let step = visitor.reader.read(UnsafeRawBufferPointer(rebasing: bytes[taken...]))
                taken += step.consumed
                guard let event = step.event else { break }
                action = take(event, connection, visitor)
                if case .close = action { break }
            }
            return taken
        }
        connection.discard(taken)
        return action
    }

    private func take(
        _ event: MessageReader.Event, _ connection: Connection, _ visitor: Visitor
    ) -> Action {
        visitor.events += 1
        // Each event costs the server a frame, and a message costs one for each member.
        guard visitor.events <= settings.framesPerSecond else {
            return close(connection, visitor, .policyViolation, "too many frames in a second")
        }
        switch event {
        case .text: return takeText(connection, visitor)
        case .binary: return close(connection, visitor, .unsupportedData, "send text")
        case .ping: connection.write(FrameWriter.frame(.pong, visitor.reader.control))
        case .pong: break
        case .close(let code): return close(connection, visitor, code)
        case .failed(let code): return close(connection, visitor, code)
        }
        return .none
    }

    private func takeText(_ connection: Connection, _ visitor: Visitor) -> Action {
        let text = String(decoding: visitor.reader.message, as: UTF8.self)
        switch visitor.phase {
        case .unnamed:
            guard isName(text) else {
                return close(
                    connection, visitor, .policyViolation,
                    "a name has 1 to \(settings.nameBytes) printable bytes")
            }
            return join(text, connection, visitor)
        case .member(let id):
            if !room.say(text, by: id) {
                return close(connection, visitor, .tryAgainLater, "too many messages wait")
            }
        case .requests, .closing: break
        }
        return .none
    }

    private func join(_ name: String, _ connection: Connection, _ visitor: Visitor) -> Action {
        guard let audience else { preconditionFailure("a connection before onBoot") }
        switch room.join(name, connection, in: audience) {
        case .member(let id):
            visitor.phase = .member(id)
            visitor.timer?.cancel()
            watch(connection, visitor)
            return .none
        case .taken: return close(connection, visitor, .policyViolation, "the name is taken")
        case .full: return close(connection, visitor, .tryAgainLater, "the room is full")
        case .busy: return close(connection, visitor, .tryAgainLater, "too many messages wait")
        }
    }

    /// Returns whether every character of the name is visible or a plain space. An invisible one
    /// would make two names look the same, and one that changes the direction of writing would
    /// change the text after it.
    private func isName(_ text: String) -> Bool {
        1...settings.nameBytes ~= text.utf8.count
            && text.unicodeScalars.allSatisfy { $0 == " " || Self.isVisible($0) }
            && text.contains { $0 != " " }
    }

    private static func isVisible(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .spaceSeparator,
            .surrogate, .unassigned:
            false
        default: true
        }
    }

    private func close(
        _ connection: Connection, _ visitor: Visitor, _ code: CloseCode?, _ reason: String = ""
    ) -> Action {
        end(connection, visitor, code, reason)
        return .close
    }

    /// Closes a WebSocket that sends no name within the time-out. It would cost the server the same
    /// as a member, and no limit counts it.
    private func awaitName(_ connection: Connection, _ visitor: Visitor) {
        visitor.timer = connection.schedule(after: settings.headTimeout) {
            [unowned self] connection in
            end(connection, visitor, .policyViolation, "no name came in time")
            connection.close()
        }
    }

    /// Looks after each interval whether the peer has sent anything. If not, the peer gets a ping,
    /// and after another silent interval it is dead. So an event costs no look at a clock.
    private func watch(_ connection: Connection, _ visitor: Visitor) {
        visitor.timer = connection.schedule(after: settings.pingInterval) {
            [unowned self] connection in
            if visitor.isHeard {
                visitor.isHeard = false
                visitor.awaitsPong = false
            } else if visitor.awaitsPong {
                return connection.abort()
            } else {
                visitor.awaitsPong = true
                connection.write(FrameWriter.frame(.ping, []))
            }
            watch(connection, visitor)
        }
    }
}
