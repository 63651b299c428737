/// The examples of the catalogue's pages on lent bytes and back-pressure, compiled.
import NetAPI

enum LentPage {
    struct Count: EventHandler {
        let received = PerConnection(0)

        // example: begin lent-echo
        func onTraffic(_ connection: Connection) -> Action {
            let bytes = connection.next()
            connection.write(bytes)
            connection[received] += bytes.byteCount
            return .none
        }
        // example: end
    }

    struct Frames: EventHandler {
        // example: begin lent-frames
        func onTraffic(_ connection: Connection) throws -> Action {
            while let frame = try connection.nextFrame(length: UInt16.self, limit: 4096) {
                guard let kind: UInt8 = frame.integer(), kind == 1 else { return .close }
                connection.writeFrame(frame.extracting(droppingFirst: 1), length: UInt16.self)
            }
            return .none
        }
        // example: end
    }

    struct Copies: EventHandler {
        func onTraffic(_ connection: Connection) throws -> Action {
            // example: begin lent-copies
            while let line = try connection.nextLine() {
                let text = String(decoding: line)  // invalid UTF-8 becomes U+FFFD
                let bytes = [UInt8](copying: line)  // or Foundation's Data
                keep(text, bytes)
            }
            // example: end
            return .none
        }
    }

    struct Pointer: EventHandler {
        func onTraffic(_ connection: Connection) -> Action {
            // example: begin lent-pointer
            let count = connection.withUnsafeBytes { bytes in
                bytes.firstIndex(of: 0).map { $0 + 1 } ?? 0
            }
            connection.discard(count)
            // example: end
            return .none
        }
    }

    static func task(_ connection: AsyncConnection) async throws -> Int {
        // example: begin lent-task
        var total = 0
        while let count = try await connection.read({ $0.byteCount }) { total += count }
        // example: end
        return total
    }

    private static func keep(_ text: String, _ bytes: [UInt8]) {}
}

enum PressurePage {
    // example: begin pressure-producer
    struct Numbers: EventHandler {
        let next = PerConnection(0)

        func onOpen(_ connection: Connection) -> Action { produce(connection) }
        func onWritable(_ connection: Connection) -> Action { produce(connection) }
        func onTraffic(_ connection: Connection) -> Action {
            connection.discardAll()
            return produce(connection)
        }

        private func produce(_ connection: Connection) -> Action {
            while connection.isWritable && connection[next] < 100_000 {
                connection.write("\(connection[next])\n")
                connection[next] += 1
            }
            return connection[next] < 100_000 ? .none : .close
        }
    }
    // example: end

    static func broadcast(_ news: String, _ server: Server) {
        // example: begin pressure-broadcast
        server.forEachConnection { member in
            guard member.isWritable else { return member.abort() }
            member.write(news)
        }
        // example: end
    }

    static func task(_ connection: AsyncConnection, _ chunks: [[UInt8]]) async throws {
        // example: begin pressure-task
        for chunk in chunks {
            try await connection.write(chunk)
        }
        // example: end
    }

    struct Proxy: EventHandler {
        func onTraffic(_ connection: Connection) -> Action { .none }

        func onOpen(_ connection: Connection) -> Action {
            // example: begin pressure-pipe
            connection.connect(to: "tcp://127.0.0.1:9001") { client, server in
                client.pipe(to: server)
                server.pipe(to: client)
            }
            // example: end
            return .none
        }
    }
}
