/// Responses that are decided before a body arrives, and the time limit of a body.
import Glibc
import TestSupport
import Testing

@Suite struct BodyTests {
    private func head(_ method: String, _ path: String, _ fields: String) -> String {
        "\(method) \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
    }

    private static let decided = [
        ("POST", "/plaintext", 405), ("PUT", "/echo", 405), ("POST", "/none", 405),
        ("GET", "/none", 404), ("GET", "/folder", 301), ("GET", "/.hidden", 400),
    ]

    /// After this response, the client may or may not send the body. Therefore no later byte may be
    /// read as a request.
    @Test(
        "a client that expects 100-continue gets the decided status, then a close",
        arguments: Form.all)
    func whoAsksFirstIsToldAndClosed(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        for (method, path, status) in Self.decided {
            let client = try server.client()
            client.send(head(method, path, "Content-Length: 5\r\nExpect: 100-continue\r\n"))
            let response = try client.receiveResponse()
            #expect(response.status == status, "\(method) \(path)")
            #expect(response["connection"] == "close")
            client.send(head("GET", "/json", ""))
            #expect(try client.isAtEnd())
        }
        let large = try server.client()
        large.send(head("POST", "/echo", "Content-Length: 9999999\r\nExpect: 100-continue\r\n"))
        #expect(try large.receiveResponse().status == 413)
        large.close()
        #expect(try server.stop() == 0)
    }

    /// The body is read and dropped, and the next request is found after it.
    @Test("a response that is decided early is sent before the body arrives", arguments: Form.all)
    func whatIsDecidedIsToldBeforeTheBody(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let client = try server.client()
        for (method, path, status) in Self.decided {
            client.send(head(method, path, "Content-Length: 30\r\n"))
            #expect(try client.receiveResponse().status == status, "\(method) \(path)")
            client.send("GET /smuggled HTTP/1.1\r\n\r\n....")
            client.send(head("GET", "/json", ""))
            #expect(try client.receiveResponse().text.contains("Hello"), "\(method) \(path)")
        }
        client.close()
        #expect(try server.stop() == 0)
    }

    /// A request gets one response only.
    @Test(
        "a bad or slow body after its response closes the connection without another response",
        arguments: Form.all)
    func aBadOrSlowBodyBehindAnAnswerClosesAlone(_ form: Form) throws {
        let server = try ServerUnderTest(form, ["--body-timeout", "300"])
        for end in ["zz\r\n", ""] {
            let client = try server.client()
            client.send(head("POST", "/none", "Transfer-Encoding: chunked\r\n"))
            #expect(try client.receiveResponse().status == 405)
            client.send(end)
            #expect(try client.isAtEnd())
        }
        let counts = try server.metrics()
        #expect(counts["requests_refused_total{status=\"400\"}"] == 1)
        #expect(counts["requests_refused_total{status=\"408\"}"] == 1)
    }

    @Test(
        "the server opens no file before the body of the request has arrived",
        arguments: Form.all)
    func noFileIsHeldForABody(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        func holds() throws -> Bool {
            let list = try ChildProcess(["ls", "-l", "/proc/\(server.program.id)/fd"]).finish()
                .output
            return String(decoding: list, as: UTF8.self).contains("ten.txt")
        }
        let client = try server.client()
        let fields = "Content-Length: 5\r\nExpect: 100-continue\r\nRange: bytes=1-3\r\n"
        client.send(head("GET", "/ten.txt", fields))
        #expect(try client.receiveResponse().status == 100)
        #expect(try !holds())
        client.send("hello" + head("GET", "/ten.txt", ""))
        let part = try client.receiveResponse()
        #expect(part.status == 206 && part.text == "123")
        #expect(try client.receiveResponse().text == "0123456789")
        // The file is opened after the body, so a change in between counts.
        client.send(head("GET", "/ten.txt", fields))
        #expect(try client.receiveResponse().status == 100)
        unlink("\(server.folder)/root/ten.txt")
        client.send("hello")
        #expect(try client.receiveResponse().status == 404)
        client.close()
        #expect(try server.stop() == 0)
    }

    /// A long body may arrive slowly as long as it keeps the rate, for which only its own bytes
    /// count.
    @Test("a long body may arrive slowly as long as it keeps the body rate", arguments: Form.all)
    func aLongBodyMayTakeLong(_ form: Form) throws {
        let server = try ServerUnderTest(form, ["--body-timeout", "1000", "--body-rate", "1000"])
        let body = String(repeating: "x", count: 2000)
        // Half of the time in which the steady client must send some bytes.
        try keepingPace(of: .milliseconds(500)) { pace in
            let steady = try server.client()
            steady.send(head("POST", "/echo", "Content-Length: 20000\r\n"))
            let drip = try server.client()
            drip.send(head("POST", "/echo", "Content-Length: 20000\r\n"))
            for _ in 0..<10 {
                steady.send(body)
                drip.send("x")
                pace.mark()
                usleep(150_000)
            }
            let response = try steady.receiveResponse()
            try must(response.body.count == 20_000, "status \(response.status)")
            #expect(try drip.receiveResponse().status == 408)
            #expect(try drip.isAtEnd())
        }
    }

    /// The bytes that arrived before do not matter.
    @Test("a body that stops arriving is refused with status 408", arguments: Form.all)
    func aBodyThatStopsComingIsNotWaitedFor(_ form: Form) throws {
        let server = try ServerUnderTest(form, ["--body-timeout", "300", "--body-rate", "1"])
        for fields in ["Content-Length: 20000\r\n", "Transfer-Encoding: chunked\r\n"] {
            let client = try server.client()
            client.send(head("POST", "/echo", fields))
            let start = fields.hasPrefix("C") ? "" : "4000\r\n"
            client.send(start + String(repeating: "x", count: 10_000))
            #expect(try client.receiveResponse().status == 408, "\(fields)")
            #expect(try client.isAtEnd(), "\(fields)")
        }
    }

    @Test("each request is logged as one line of the access log", arguments: Form.all)
    func eachRequestIsALineOfTheAccessLog(_ form: Form) throws {
        let path = TemporaryPath.make("log")
        try TemporaryPath.write("", to: path)
        defer { unlink(path) }
        let server = try ServerUnderTest(form, ["--access-log", path])
        let client = try server.client()
        client.send(head("GET", "/plaintext?a", "") + head("HEAD", "/json", ""))
        client.send(head("GET", "/ten.txt", "Range: bytes=2-4\r\n") + head("GET", "/none", ""))
        client.send(head("POST", "/echo", "Content-Length: 2\r\n") + "ok")
        client.send("\r\nGET /\"\\\u{1}\u{e9} HTTP/1.1\r\nA: \r\n\r\n")
        while try !client.isAtEnd() { _ = try client.receiveAll() }
        client.close()
        #expect(try server.stop() == 0)
        let lines = try #require(readText(path)).split(separator: "\n")
        let ends = lines.map { $0.drop { $0 != "\"" } }
        #expect(
            ends == [
                "\"GET /plaintext?a HTTP/1.1\" 200 13", "\"HEAD /json HTTP/1.1\" 200 0",
                "\"GET /ten.txt HTTP/1.1\" 206 3", "\"GET /none HTTP/1.1\" 404 0",
                "\"POST /echo HTTP/1.1\" 200 2",
                "\"GET /\\x22\\x5C\\x01\\xC3\\xA9 HTTP/1.1\" 400 0",
            ])
        #expect(lines.allSatisfy { $0.hasPrefix("tcp://127.0.0.1:") && $0.contains(" GMT] ") })
    }

    /// Log lines are lost, but responses are not. Every line in the log is complete.
    @Test("an access log that is not read delays no response", arguments: Form.all)
    func aLogThatNobodyReadsHoldsNobodyUp(_ form: Form) throws {
        let path = TemporaryPath.make("pipe")
        try #require(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        let reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(reader) }
        let server = try ServerUnderTest(form, ["--access-log", path])
        let clients = try (0..<2).map { _ in try server.client() }
        let target = "/plaintext?" + String(repeating: "a", count: 200)
        for _ in 0..<20 {
            for client in clients {
                client.send(String(repeating: head("GET", target, ""), count: 50))
                for _ in 0..<50 { #expect(try client.receiveResponse().status == 200) }
            }
        }
        var log: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while case let count = read(reader, &piece, piece.count), count > 0 {
            log += piece[..<count]
        }
        let lines = log.split(separator: 0x0A)
        #expect(!lines.isEmpty && lines.count < 2000)
        let end = Array("\(target) HTTP/1.1\" 200 13".utf8)
        #expect(
            lines.allSatisfy { $0.starts(with: "tcp:".utf8) && $0.suffix(end.count) == end[...] })
        for client in clients { client.close() }
        #expect(try server.stop() == 0)
    }
}
