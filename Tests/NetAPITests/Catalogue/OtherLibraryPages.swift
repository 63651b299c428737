/// The examples of the catalogue's pages for users of gnet and SwiftNIO, compiled.
import NetAPI

enum GnetPage {
    // example: begin gnet-echo
    struct EchoServer: EventHandler {
        func onTraffic(_ connection: Connection) -> Action {
            connection.write(connection.next())
            return .none
        }
    }
    // example: end

    static func run() -> Never {
        // example: begin gnet-echo
        Server.main(
            EchoServer(), listen: "tcp://:9000", options: Options(loops: .perCore, reusePort: true))
        // example: end
    }
}

enum NIOPage {
    // example: begin nio-callbacks
    struct Upper: EventHandler {
        func onTraffic(_ connection: Connection) throws -> Action {
            while let line = try connection.nextLine(limit: 4096) {
                connection.write(String(decoding: line).uppercased() + "\n")
            }
            return .none
        }
    }
    // example: end

    static func tasks() throws -> Server {
        // example: begin nio-tasks
        let server = try Server(listen: "tcp://127.0.0.1:9000") { connection in
            for try await line in connection.lines(limit: 4096) {
                try await connection.write(line.uppercased() + "\n")
            }
        }
        // example: end
        return server
    }

    static func connect(_ client: Client) async throws {
        // example: begin nio-connect
        let handle = try await client.connect(to: "tcp://example.org:80", timeout: .seconds(5))
        try await handle.send(Array("GET / HTTP/1.0\r\n\r\n".utf8))
        // example: end
    }
}
