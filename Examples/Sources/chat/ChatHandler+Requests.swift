// The HTTP side of the chat: the page, and the handshake that makes a connection a WebSocket.
import HTTPCodec
import NetAPI
import WebSocketCodec

extension ChatHandler {
    enum Step { case again, wait, close }

    /// Answers requests until one begins a WebSocket. Returns `.close` if the connection is to be
    /// closed.
    func serve(_ connection: Connection, _ visitor: Visitor) -> Step {
        responder.refreshDate()
        var step = Step.again
        while step == .again, visitor.phase == .requests, connection.isWritable,
            connection.buffered > 0
        {
            step = serveNext(connection, visitor)
        }
        return step
    }

    private func serveNext(_ connection: Connection, _ visitor: Visitor) -> Step {
        // Lent bytes stay valid until the callback returns, also after `discard`.
        connection.bytes.withUnsafeBytes { bytes in
            switch visitor.parser.parse(bytes) {
            case .needsMore: return .wait
            case .refused(let status):
                responder.send(status, to: connection, keepsAlive: false)
                return .close
            case .complete(let count):
                let head = visitor.parser.head
                visitor.parser.reset()
                visitor.requests += 1
                connection.discard(count)
                let bytes = UnsafeRawBufferPointer(rebasing: bytes[..<count])
                return answer(head, bytes, connection, visitor)
            }
        }
    }

    private func answer(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ connection: Connection,
        _ visitor: Visitor
    ) -> Step {
        // No resource here reads a body, so the connection ends instead of skipping it.
        let keepsAlive =
            head.keepsAlive && head.isVersion11 && !connection.loop.isStopping
            && (head.body == .none || head.body == .length(0))
        let path = head.path(in: bytes)
        if path.equals("/ws") {
            switch Handshake(head, bytes, origins: settings.origins) {
            case .accepted(let key):
                responder.sendSwitch(key, to: connection)
                begin(connection, visitor)
                return .wait
            case .refused(let status):
                responder.send(
                    status, to: connection, keepsAlive: keepsAlive, isHead: head.method == .head,
                    allow: "GET")
            }
        } else if !path.equals("/") {
            responder.send(
                .notFound, to: connection, keepsAlive: keepsAlive, isHead: head.method == .head)
        } else if head.method == .get || head.method == .head {
            responder.sendPage(
                to: connection, keepsAlive: keepsAlive, isHead: head.method == .head)
        } else {
            responder.send(
                .methodNotAllowed, to: connection, keepsAlive: keepsAlive, allow: "GET, HEAD")
        }
        return keepsAlive ? .again : .close
    }

    /// Closes a connection that completes no request within the time-out, also one that sends its
    /// head byte by byte. The check runs once for each time-out, so a request costs no timer.
    func awaitRequest(_ connection: Connection, _ visitor: Visitor) {
        let seen = visitor.requests
        visitor.timer = connection.schedule(after: settings.headTimeout) {
            [unowned self] connection in
            guard visitor.requests == seen else { return awaitRequest(connection, visitor) }
            if connection.buffered > 0 {
                responder.refreshDate()
                responder.send(.requestTimeout, to: connection, keepsAlive: false)
            }
            connection.close()
        }
    }
}
