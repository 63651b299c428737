/// The examples of the catalogue's pages on threads and blocking work, compiled.
import NetAPI

enum ThreadsPage {
    // example: begin threads-per-loop
    final class Numbered: EventHandler {
        private var requests = 0  // of this loop only, so no lock

        func onTraffic(_ connection: Connection) -> Action {
            requests += 1
            connection.discardAll()
            connection.write("request \(requests) of loop \(connection.loop.index)\n")
            return .none
        }
    }

    func serve() throws {
        try Server(listen: "tcp://127.0.0.1:9000", options: Options(loops: 4)) { Numbered() }.run()
    }
    // example: end

    struct Greeter: EventHandler {
        func onTraffic(_ connection: Connection) -> Action { .none }

        // example: begin threads-handle
        func onOpen(_ connection: Connection) -> Action {
            let handle = connection.handle
            Task {
                let greeting = await loadGreeting()
                try await handle.send(Array(greeting.utf8))
            }
            return .none
        }
        // example: end
    }

    static func tasks() throws -> Server {
        // example: begin threads-tasks
        let server = try Server(listen: "tcp://127.0.0.1:9000") { connection in
            while let line = try await connection.readLine(limit: 1024) {
                let result = try await query(line)  // other connections go on meanwhile
                try await connection.write(result + "\n")
            }
        }
        // example: end
        return server
    }

    struct Warm: EventHandler {
        func onTraffic(_ connection: Connection) -> Action { .none }

        // example: begin threads-executor
        func onBoot(_ loop: Loop) -> Action {
            Task(executorPreference: loop.handle.executor) {
                await warmUp()
            }
            return .none
        }
        // example: end
    }
}

enum BlockingPage {
    struct Offloading: EventHandler {
        // example: begin blocking-offload
        func onTraffic(_ connection: Connection) throws -> Action {
            while let line = try connection.nextLine() {
                let key = String(decoding: line)
                connection.offload {
                    try lookUp(key)
                } then: { connection, value in
                    connection.write(value + "\n")
                } refused: { connection in
                    connection.write("busy\n")
                }
            }
            return .none
        }
        // example: end
    }

    struct Awaiting: EventHandler {
        // example: begin blocking-task
        func onTraffic(_ connection: Connection) throws -> Action {
            guard !connection.isBusy, let line = try connection.nextLine() else { return .none }
            let (request, handle) = (String(decoding: line), connection.handle)
            connection.isBusy = true
            connection.pauseReading()
            Task {
                do {
                    let reply = try await query(request)
                    try await handle.run { connection in
                        connection.write(reply + "\n")
                        connection.isBusy = false
                        connection.resumeReading()
                        // The next line. The library does not see this result.
                        if try onTraffic(connection) == .close { connection.close() }
                    }
                } catch {
                    handle.close()
                }
            }
            return .none
        }
        // example: end
    }
}

// example: begin blocking-elsewhere
@concurrent
func sum(of bytes: [UInt8]) async -> Int {
    bytes.reduce(0) { $0 + Int($1) }
}
// example: end

private func loadGreeting() async -> String { "hello\n" }
private func warmUp() async {}
private func query(_ request: String) async throws -> String {
    await AsyncGate.ofRequests.value[request]?.wait()
    return request
}
private func lookUp(_ key: String) throws -> String { key }
