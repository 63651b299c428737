/// The README's examples of servers and clients, compiled. The lines between two marks are those
/// of the README; the lines that an example needs around it stand outside the marks.
import NetAPI
import NetTLS

private struct Printer: EventHandler {
    func onTraffic(_ connection: Connection) -> Action {
        print(String(decoding: connection.next()))
        return .none
    }
}

func readmeClient() async throws {
    // example: begin client
    let client = try Client(Printer())
    try client.start()
    let handle = try await client.connect(to: "tcp://127.0.0.1:9000", timeout: .seconds(3))
    try await handle.send(Array("hello\n".utf8))
    // example: end
}

func readmeRestart(_ old: Server) throws {
    // example: begin restart
    let sockets = try old.duplicateListeners(of: "tcp://127.0.0.1:9000")
    let new = try Server(Echo(), listen: sockets.map { Address.inherited($0) })
    try new.start()
    old.stop(within: .seconds(5))
    try new.run(stoppingOn: .interrupt, .terminate)
    // example: end
}

private func reply(to line: String) async throws -> String { line }

func readmeServe() throws -> Server {
    // example: begin serve
    let server = try Server(listen: "tcp://127.0.0.1:9000") { connection in
        for try await line in connection.lines(limit: 1024) {
            let answer = try await reply(to: line)
            try await connection.write(answer + "\r\n")
        }
    }
    // example: end
    return server
}

func readmeTLS() throws -> Never {
    // example: begin tls
    var options = Options(loops: .perCore)
    options.tls = try TLSServer(.files(chain: "fullchain.pem", key: "key.pem"))
    Server.main(Echo(), listen: "tls://[::]:8443", "tcp://127.0.0.1:9000", options: options)
    // example: end
}

/// The example of docs/DEPLOYING.md.
func deployingSystemd() throws -> Never {
    // example: begin systemd
    let manager = try ServiceManager.fromEnvironment()
    let options = Options(loops: .perCore).with { $0.serviceManager = manager }
    let passed = try manager.addresses()
    Server.main(Echo(), listen: passed.isEmpty ? ["tcp://[::]:9000"] : passed, options: options)
    // example: end
}

private final class Numbered: EventHandler {
    var calls = 0

    func onTraffic(_ connection: Connection) -> Action {
        calls += 1
        connection.discardAll()
        connection.write("call \(calls)\r\n")
        return .none
    }
}

func readmePerLoop() -> Never {
    // example: begin per-loop
    Server.main(
        listen: "tcp://127.0.0.1:9000", options: Options(loops: .perCore, reusePort: true)
    ) { Numbered() }
    // example: end
}

func readmeStatistics(_ server: Server) {
    // example: begin statistics
    for (index, loop) in server.loopStatistics.enumerated() {
        print("loop \(index): \(loop.open) open, \(loop.bytesIn) bytes in")
    }
    // example: end
}
