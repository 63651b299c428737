/// `http-server` as its clients see it, on every backend and with one loop and two.
import Glibc
import TestSupport
import Testing

@Suite struct HTTPServerTests {
    private let get = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n"
    private let smuggled = "GET /json HTTP/1.1\r\nHost: a\r\n\r\n"

    /// Requests with the status that each gets. The tests of the codec have the long list.
    private static let hostile: [(String, Int)] = [
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400
        ),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5x\r\nhello\r\n",
            400
        ),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400), ("GET / HTTP/1.1\r\n\r\n", 400),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501), ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: b\r\n\r\n", 417),
        ("GET /" + String(repeating: "x", count: 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nA: " + String(repeating: "x", count: 9000) + "\r\n\r\n",
            431
        ),
    ]

    @Test("a hostile request is refused, and no request after it is read", arguments: Form.all)
    func whatIsHostileIsRefusedAndNothingAfterItIsRead(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        for (text, status) in Self.hostile {
            let client = try server.client()
            client.send(get + text + smuggled)
            #expect(try client.receiveResponse().text == "Hello, World!")
            let response = try client.receiveResponse()
            #expect(response.status == status, "\(text.prefix(80).debugDescription)")
            #expect(response["connection"] == "close")
            #expect(try client.isAtEnd())
        }
        #expect(try server.stop() == 0)
    }

    @Test(
        "requests sent byte by byte get the same responses as requests sent in one piece",
        arguments: Form.all)
    func singleBytesGetTheSameAsOnePiece(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let text =
            get + smuggled + "HEAD /plaintext HTTP/1.1\r\nHost: a\r\n\r\n"
            + "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n"
            + "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz"
            + "DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.0\r\n\r\n"
        let whole = try server.client()
        whole.send(text)
        let expected = try whole.receiveAll()
        #expect(expected.contains("abcde") && expected.contains("xyz"))
        #expect(expected.contains(" 405 ") && expected.contains(" 404 "))
        let singly = try server.client()
        for byte in text.utf8 { singly.send([byte]) }
        #expect(try singly.receiveAll() == expected)
    }

    @Test("pipelined responses arrive in the order of their requests", arguments: Form.all)
    func pipelinedAnswersComeInOrder(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let client = try server.client()
        // There are more responses than a connection may buffer, so they are made as the client
        // reads.
        let rounds = 3000
        let echo = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
        let text = (0..<rounds).map { get + echo + "\(1000 + $0)" }.joined()
        client.send(text)
        for round in 0..<rounds {
            let first = try client.receiveResponse()
            let second = try client.receiveResponse()
            guard first.text == "Hello, World!", second.text == "\(1000 + round)" else {
                Issue.record("round \(round): \(first.text), \(second.text)")
                break
            }
        }
    }

    @Test(
        "the server handles HTTP/1.0, keep-alive, HEAD, refused methods and 100-continue",
        arguments: Form.all)
    func versionsAndMethods(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let old = try server.client()
        old.send("GET /json HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        #expect(try old.receiveResponse()["connection"] == "keep-alive")
        old.send("GET /json HTTP/1.0\r\n\r\n")
        #expect(try old.receiveResponse().text == #"{"message":"Hello, World!"}"#)
        #expect(try old.isAtEnd())
        let client = try server.client()
        client.send("HEAD /json HTTP/1.1\r\nHost: a\r\n\r\nPUT / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try client.receiveResponse(toHead: true)["content-length"] == "27")
        let refused = try client.receiveResponse()
        #expect(refused.status == 405 && refused["allow"] == "GET, HEAD")
        client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        // The other connection has ended, although its client has not closed.
        #expect(try client.receiveResponse().text.contains("millrace_connections_open 1\n"))
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n")
        client.send("Expect: 100-continue\r\n\r\n")
        #expect(try client.receiveResponse().status == 100)
        client.send("ok")
        #expect(try client.receiveResponse().text == "ok")
    }

    @Test("the Allow field of a 405 lists the methods of the resource", arguments: Form.all)
    func allowIsWhatTheResourceTakes(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let client = try server.client()
        for (method, path, allowed) in [
            ("POST", "/plaintext", "GET, HEAD"), ("POST", "/json", "GET, HEAD"),
            ("PUT", "/metrics", "GET, HEAD"), ("POST", "/ten.txt", "GET, HEAD"),
            ("PUT", "/%6ason", "GET, HEAD"), ("DELETE", "/echo", "GET, HEAD, POST"),
            ("PUT", "/%65cho", "GET, HEAD, POST"), ("OPTIONS", "*", "GET, HEAD, POST"),
        ] {
            client.send("\(method) \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            let response = try client.receiveResponse()
            #expect(response.status == 405 && response["allow"] == allowed, "\(method) \(path)")
        }
    }

    /// A server that waits for a line end would never answer them.
    @Test("a client of another protocol gets status 400 and a close at once", arguments: Form.all)
    func otherProtocolsAreToldAtOnce(_ form: Form) throws {
        let server = try ServerUnderTest(form, ["--head-timeout", "3600000"])
        let hellos: [[UInt8]] = [
            [0x16, 3, 1, 2, 0, 1, 0, 1], [3, 0, 0, 0x13], [5, 1, 0], [4, 1, 0, 80], [0],
        ]
        for hello in hellos {
            let client = try server.client()
            client.send(hello)
            #expect(try client.receiveResponse().status == 400, "\(hello)")
            #expect(try client.isAtEnd(), "\(hello)")
        }
        let name = "requests_refused_total{status=\"400\"}"
        #expect(try server.metrics()[name[...]] == hellos.count)
        #expect(try server.metrics()["requests_refused_total{status=\"408\"}"] == 0)
    }

    @Test(
        "percent-encoded paths are decoded once, and invalid ones are refused",
        arguments: Form.all)
    func percentSignsMakeNoOtherPath(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let client = try server.client()
        for (path, status) in [
            ("/%70laintext", 200), ("/plain%74ext?q", 200), ("/%6Ason", 200),
            ("/%2Fplaintext", 400),
            ("/plaintext%00", 400), ("/plaintext%", 400), ("/%2570laintext", 404),
        ] {
            client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try client.receiveResponse().status == status, "\(path)")
        }
    }

    @Test(
        "a client that is too slow gets status 408, and its connection is closed",
        arguments: Form.all)
    func whoIsTooSlowIsToldAndClosed(_ form: Form) throws {
        let server = try ServerUnderTest(
            form, ["--head-timeout", "200", "--body-timeout", "300", "--idle-timeout", "1000"])
        let head = try server.client()
        head.send("GET / HT")
        let body = try server.client()
        body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        let idle = try server.client()
        idle.send(get)
        for client in [head, body] {
            #expect(try client.receiveResponse().status == 408)
            #expect(try client.isAtEnd())
        }
        #expect(try idle.receiveResponse().status == 200)
        #expect(try idle.isAtEnd())
        try aKeptConnectionHasNoTimeOut(form)
    }

    /// After a complete request, no time-out but the idle one runs, not even behind an empty line.
    private func aKeptConnectionHasNoTimeOut(_ form: Form) throws {
        let server = try ServerUnderTest(
            form, ["--head-timeout", "200", "--body-timeout", "300", "--idle-timeout", "60000"])
        let kept = try server.client()
        kept.send(get)
        #expect(try kept.receiveResponse().status == 200)
        kept.send("\r\n")
        // Two clients that connect later, one after the other, are too slow meanwhile.
        for _ in 0..<2 {
            let slow = try server.client()
            slow.send("GET / HT")
            #expect(try slow.receiveResponse().status == 408)
            #expect(try slow.isAtEnd())
        }
        kept.send(get)
        #expect(try kept.receiveResponse().status == 200)
    }

    @Test("the server answers requests in flight before it stops", arguments: Form.all)
    func requestsInFlightAreAnsweredBeforeItStops(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let head = try server.client()
        head.send(get)
        #expect(try head.receiveResponse()["connection"] == nil)
        head.send("GET /json HTTP/1.1\r\nHo")
        let body = try server.client()
        body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        let idle = try server.client()
        idle.send(get)
        _ = try idle.receiveResponse()
        kill(server.program.id, SIGTERM)
        // The wait is longer than the silence after which the library alone would close them.
        usleep(300_000)
        head.send("st: a\r\n\r\n")
        let response = try head.receiveResponse()
        #expect(response.status == 200 && response["connection"] == "close")
        #expect(try head.isAtEnd())
        head.close()
        usleep(100_000)
        body.send("def")
        let echoed = try body.receiveResponse()
        #expect(echoed.text == "abcdef" && echoed["connection"] == "close")
        #expect(try body.isAtEnd())
        #expect(try idle.isAtEnd())
        body.close()
        idle.close()
        #expect(try server.program.finish().end == .exited(0))
    }
}
