/// The examples of the catalogue's page on first steps, compiled. The lines between two marks are
/// those of the page; the lines that an example needs around it stand outside the marks.
// example: begin started-server
import NetAPI

struct Shouter: EventHandler {
    func onTraffic(_ connection: Connection) throws -> Action {
        while let line = try connection.nextLine(limit: 1024) {
            connection.write(String(decoding: line).uppercased() + "\n")
        }
        return .none
    }
}
// example: end

func firstServer() -> Never {
    // example: begin started-server
    Server.main(Shouter(), listen: "tcp://127.0.0.1:9000")
    // example: end
}

func firstOptions() throws {
    // example: begin started-options
    let options = Options(loops: .perCore).with {
        $0.timeouts.idle = .seconds(60)
        $0.limits.connections = 10_000
    }
    let server = try Server(Shouter(), listen: "tcp://[::]:9000", options: options)
    try server.run(stoppingOn: .interrupt, .terminate)
    // example: end
}

enum FirstState {
    // example: begin started-state
    struct Counter: EventHandler {
        let lines = PerConnection(0)

        func onTraffic(_ connection: Connection) throws -> Action {
            while let line = try connection.nextLine() {
                connection[lines] += 1
                connection.write("line \(connection[lines]) has \(line.byteCount) bytes\n")
            }
            return .none
        }
    }
    // example: end
}

func firstTasks() throws -> Server {
    // example: begin started-tasks
    let server = try Server(listen: "tcp://127.0.0.1:9000") { connection in
        for try await line in connection.lines(limit: 1024) {
            try await connection.write(answer(to: line) + "\n")
        }
    }
    // example: end
    return server
}

func firstClient() async throws -> String? {
    // example: begin started-client
    let client = try Client()
    try client.start()
    let reply = try await client.withConnection(to: "tcp://127.0.0.1:9000") { connection in
        try await connection.write("hello\n")
        return try await connection.readLine()
    }
    await client.stop()
    // example: end
    return reply
}

private func answer(to line: String) async throws -> String { line }
