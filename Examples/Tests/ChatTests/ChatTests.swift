/// The program `chat` as its clients see it, on every backend and with one loop and two.
import Glibc
import TestSupport
import Testing
import WebSocketCodec

@Suite struct ChatTests {
    @Test("the page is served, and other requests get their status", arguments: Form.all)
    func requests(_ form: Form) throws {
        let server = try ChatServer(form, ["--origin", "https://example.org"])
        func status(_ request: String) throws -> String {
            let client = try server.connect()
            try client.send(request)
            return String(try client.receiveAll().prefix { $0 != "\r\n" })
        }
        let more = "Host: a\r\nConnection: close\r\n"
        let page = try server.connect()
        try page.send("GET / HTTP/1.1\r\n\(more)\r\n")
        let text = try page.receiveAll()
        #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(text.contains("<title>Millrace chat</title>") && text.hasSuffix("</html>"))
        // Without the empty line, which is one character.
        let upgrade = String(ServerEvents.upgrade.dropLast())
        for (request, line) in [
            ("GET /none HTTP/1.1\r\n\(more)\r\n", "404 Not Found"),
            ("POST / HTTP/1.1\r\n\(more)\r\n", "405 Method Not Allowed"),
            ("GET /ws HTTP/1.1\r\n\(more)\r\n", "426 Upgrade Required"),
            ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request"), ("BREW / HTTP/1.1\r\n", "501 Not"),
            ("\u{16}\u{3}\u{1}", "400 Bad Request"),
            (upgrade + "Origin: https://evil\r\nConnection: close\r\n\r\n", "403 Forbidden"),
            (
                upgrade.replacing("Version: 13", with: "Version: 8") + "Connection: close\r\n\r\n",
                "426 Upgrade Required"
            ),
            (upgrade + "Content-Length: 5\r\n\r\nhello", "400 Bad Request"),
        ] {
            #expect(try status(request).hasPrefix("HTTP/1.1 " + line), "\(line)")
        }
        #expect(try server.stop() == 0)
    }

    @Test("every member gets each message, and a stop closes with code 1001", arguments: Form.all)
    func conversation(_ form: Form) throws {
        let server = try ChatServer(form)
        let ann = try server.join("Ann")
        // The first bytes of the handshake come one by one, the rest together with the first frame.
        let raw = try server.connect()
        let bytes = Array(ServerEvents.upgrade.utf8) + ServerEvents.text("Bob")
        for byte in bytes.prefix(150) { try raw.send([byte]) }
        try raw.send(Array(bytes.dropFirst(150)))
        #expect(try ann.next() == Told.joined("Bob"))
        let eve = try server.join("Eve")
        #expect(try ann.next() == Told.joined("Eve"))
        for number in 0..<20 {
            try (number % 2 == 0 ? ann : eve).send("hello \(number)")
            let message = Told.message(number % 2 == 0 ? "Ann" : "Eve", "hello \(number)")
            #expect(try ann.next() == message)
            #expect(try eve.next() == message)
        }
        raw.close()
        #expect(try ann.next() == Told.left("Bob"))
        let counted = [
            #""backend":"\#(form.backend)","loops":\#(form.loops),"#,
            #""members":2,"messages":20,"open":2,"accepted":3,"#,
        ]
        // Each event is a second later.
        let isCounted = try (0..<10).contains { _ in
            let statistics = try ann.next(withStatistics: true)
            return counted.allSatisfy { statistics.contains($0) }
        }
        #expect(isCounted)
        server.terminate()
        for client in [ann, eve] {
            try client.read(until: "close 1001 the server stops")
            try client.raw.send(FrameWriter.close(.goingAway, maskingKey: 9))
            #expect(try client.isAtEnd())
            client.raw.close()
        }
        #expect(try server.finish() == 0)
    }

    /// The kernel keeps some MiB for the slow reader before the server has to.
    @Test("a slow reader is disconnected, and the others do not wait", arguments: Form.all)
    func slowReader(_ form: Form) throws {
        let server = try ChatServer(
            form,
            ["--message-limit", "65536", "--rate-limit", "100000", "--unread-limit", "1538"])
        let (ann, bob) = (try server.join("Ann"), try server.join("Bob"))
        let slow = try server.join("Eve", receiveBuffer: 4096)
        let text = String(repeating: "x", count: 65_536)
        let message = Told.message("Ann", text)
        var sent = 0
        var hasLeft = false
        while !hasLeft, sent < 300 {
            try ann.send(text)
            sent += 1
            var event = ""
            while event != message {
                event = try ann.next()
                if event == Told.left("Eve") { hasLeft = true }
            }
            try bob.read(until: message)
        }
        #expect(hasLeft, "after \(sent) messages")
        slow.raw.close()
        for client in [ann, bob] { client.raw.close() }
        #expect(try server.stop() == 0)
    }

    @Test("a peer that does not answer a ping is reset", arguments: Form.all)
    func silence(_ form: Form) throws {
        let server = try ChatServer(form, ["--ping-interval", "1000"])
        let dead = try server.join("Ann")
        try dead.read(until: "ping ")
        // The statistics of ten seconds would be ten pieces.
        let isReset = try (0..<10).contains { _ in
            try dead.raw.receiveSomeUntilReset() == nil
        }
        #expect(isReset)
        #expect(try server.stop() == 0)
    }
}
