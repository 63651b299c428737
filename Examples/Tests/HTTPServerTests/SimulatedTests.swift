/// http-server's handler without a socket: every cut of a pipeline, time limits, and faults.
import NetAPI
import NetAPITesting
import Testing

@testable import http_server

@Suite struct SimulatedTests {
    private static let pipeline =
        "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n"
        + "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n"
        + "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz"
        + "GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    private func serve(
        loops: Int, on network: TestNetwork = TestNetwork()
    ) throws -> TestServer {
        let settings = HTTPSettings(files: nil)
        return try TestServer(options: Options(loops: .count(loops)), on: network) {
            HTTPHandler(settings)
        }
    }

    /// The lines of responses without their dates.
    private func responses(_ bytes: TestBytes) -> [String] {
        bytes.lines.filter { !$0.lowercased().hasPrefix("date:") }
    }

    @Test("a pipeline gets the same responses in every cut", arguments: [1, 2])
    func everyCutOfAPipeline(_ loops: Int) throws {
        let server = try serve(loops: loops)
        let whole = responses(try server.reply(to: TestBytes(Self.pipeline)))
        #expect(whole.count { $0.contains("HTTP/1.1 ") } == 4)
        let wrong = try everyCut(of: Self.pipeline).filter {
            try responses(server.reply(to: $0)) != whole
        }
        #expect(wrong == [])
        try server.stop()
    }

    @Test("clients that send at once get their own responses", arguments: TestSeed.each(1...20))
    func manyClients(_ seed: TestSeed) throws {
        let network = TestNetwork(seed: seed, faults: .lossless)
        let server = try serve(loops: network.random(in: 1...3), on: network)
        let peers = try (0..<4).map { _ in try server.connect() }
        network.together {
            for (number, peer) in peers.enumerated() {
                let body = String(repeating: "\(number)", count: 500)
                let request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n" + body
                peer.send(network.randomCut(of: TestBytes(request + request)))
            }
        }
        for (number, peer) in peers.enumerated() {
            let text = peer.received.text
            #expect(text.count { $0 == Character("\(number)") } >= 1000)
            #expect(text.ranges(of: "HTTP/1.1 200").count == 2)
        }
        try server.stop()
    }

    @Test("a head that does not end is refused after its time, byte by byte or not")
    func slowHead() throws {
        let server = try serve(loops: 1)
        let silent = try server.connect()
        silent.send("GET /plaintext HTTP/1.1\r\n")
        let dripping = try server.connect()
        dripping.send("GET ")
        for second in 1...20 {
            server.network.after(.seconds(second)) { dripping.send("/") }
        }
        server.advance(by: .seconds(9))
        #expect(silent.received.isEmpty && dripping.received.isEmpty)
        server.advance(by: .seconds(2))
        for peer in [silent, dripping] {
            #expect(peer.received.lines.first?.hasPrefix("HTTP/1.1 408") == true)
            #expect(peer.end == .closed)
        }
    }

    @Test(
        "a client that pauses within the response time receives the whole last response",
        arguments: ["keep-alive", "close"])
    func pausingReader(_ connection: String) throws {
        let command = try HTTPServer.parse([
            "--idle-timeout", "25000", "--response-timeout", "30000",
        ])
        let options = try command.serverOptions()
        #expect(options.timeouts.close == .seconds(30))
        let settings = HTTPSettings(files: nil)
        let server = try TestServer(options: options) { HTTPHandler(settings) }
        let peer = try server.connect()
        peer.stall(window: 1_000)
        let body = String(repeating: "x", count: 50_000)
        peer.send(
            TestBytes(
                "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: \(connection)\r\n"
                    + "Content-Length: 50000\r\n\r\n" + body))
        // Twice the library's own time limit for a close.
        server.advance(by: .seconds(20))
        #expect(peer.end == .open)
        peer.resume()
        #expect(peer.received.text.hasSuffix("\r\n\r\n" + body))
        #expect(peer.end == (connection == "close" ? .closed : .open))
    }

    @Test("a stop answers the request in progress and closes the quiet clients")
    func drain() throws {
        let server = try serve(loops: 2)
        let quiet = try server.connect()
        let sending = try server.connect()
        sending.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        server.requestStop(within: .seconds(20))
        server.advance(by: .seconds(1))
        #expect(quiet.end == .closed && sending.end == .open)
        sending.send("def")
        #expect(sending.received.lines.contains("abcdef") && sending.end == .closed)
        #expect(sending.received.text.lowercased().contains("connection: close"))
    }
}
