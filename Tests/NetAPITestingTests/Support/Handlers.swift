/// The handlers that the tests of NetAPITesting run.
import NetAPI

/// Answers each line: `PING` with `+PONG`, `QUIT` with an end, `FAIL` with an error.
struct LineHandler: EventHandler {
    struct Refused: Error, CustomStringConvertible { let description = "refused" }

    func onTraffic(_ connection: Connection) throws -> Action {
        while let line = try connection.nextLine(limit: 1024) {
            switch String(decoding: line) {
            case "PING": connection.write("+PONG\r\n")
            case "QUIT":
                connection.write("+BYE\r\n")
                return .close
            case "FAIL": throw Refused()
            case "ABORT": connection.abort()
            case let other: connection.write("-\(other)?\r\n")
            }
        }
        return .none
    }
}

/// Echoes everything.
struct EchoHandler: EventHandler {
    func onTraffic(_ connection: Connection) -> Action {
        connection.write(connection.next())
        return .none
    }
}

/// Has a bug: it answers the lines that the first piece holds, and drops the rest of a piece.
struct DroppingHandler: EventHandler {
    func onTraffic(_ connection: Connection) throws -> Action {
        if let line = try connection.nextLine(limit: 1024) {
            connection.write("+\(String(decoding: line))\r\n")
        }
        connection.discardAll()
        return .none
    }
}

/// Has a bug: it answers one line for each piece, although a piece may hold several.
struct SingleHandler: EventHandler {
    func onTraffic(_ connection: Connection) throws -> Action {
        if let line = try connection.nextLine(limit: 1024) {
            connection.write("+\(String(decoding: line))\r\n")
        }
        return .none
    }
}

/// The correct form of both.
struct RepeatingHandler: EventHandler {
    func onTraffic(_ connection: Connection) throws -> Action {
        while let line = try connection.nextLine(limit: 1024) {
            connection.write("+\(String(decoding: line))\r\n")
        }
        return .none
    }
}

func options(loops: Int) -> Options { Options(loops: .count(loops)) }

/// Passes everything to a server with TLS, and back.
struct Front: EventHandler {
    func onOpen(_ connection: Connection) -> Action {
        guard connection.isAccepted else { return .none }
        connection.connect(to: "tls://127.0.0.1:9443") { client, server in
            client.pipe(to: server)
            server.pipe(to: client)
        }
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action { .none }
}
