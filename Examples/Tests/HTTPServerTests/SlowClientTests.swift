/// Clients that are slow on purpose, or never read. They must cost little, be closed in time, and
/// not delay other clients.
import Glibc
import TestSupport
import Testing

/// An attack of slowhttptest, with a hundred connections.
struct Attack: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let path: String
    let options: [String]

    static let all = [
        Attack(testDescription: "slow heads", path: "/plaintext", options: ["-H"]),
        Attack(testDescription: "slow bodies", path: "/echo", options: ["-B"]),
        Attack(
            testDescription: "slow reading", path: "/big",
            options: ["-X", "-k", "3", "-w", "10", "-y", "20", "-n", "1", "-z", "5"]),
    ]
}

@Suite struct SlowClientTests {
    private static let connections = 100

    @Test(
        "the server closes the connections of a slow attack and answers other clients",
        arguments: ["epoll", "io_uring"], Attack.all)
    func anAttackByTime(_ backend: String, _ attack: Attack) throws {
        let server = try ServerUnderTest(
            Form(backend: backend, loops: 1),
            ["--head-timeout", "1000", "--body-timeout", "1000", "--idle-timeout", "1500"])
        let attacker = try ChildProcess(
            [
                "slowhttptest", "-u", "http://127.0.0.1:\(server.port)\(attack.path)", "-l",
                "\(Int(patience / .seconds(1)))", "-c", "\(Self.connections)", "-r", "200", "-i",
                "1",
            ] + attack.options)
        // Meanwhile, every request of a good client is answered. The tool does not notice the close
        // of a connection that it reads slowly, so the test reads the server's metrics.
        var good = 0  // Connections that are not the attacker's.
        func attackers() throws -> (seen: Int, open: Int) {
            good += 1
            let metrics = try server.metrics()
            let accepted = try #require(metrics["connections_accepted_total"])
            return (accepted - good, try #require(metrics["connections_open"]))
        }
        func isOver(_ attackers: (seen: Int, open: Int)) -> Bool {
            attackers.seen >= Self.connections && attackers.open < 10
        }
        var servedBesideAttackers = 0
        var found = try attackers()
        while !isOver(found), !attacker.hasEnded() {
            let client = try server.client()
            good += 1
            for _ in 0..<10 {
                client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(try client.receiveResponse().text == "Hello, World!")
            }
            client.close()
            if found.open > 10 { servedBesideAttackers += 1 }
            usleep(10_000)
            found = try attackers()
        }
        // The condition may have become true while the attacker ended.
        #expect(try isOver(attackers()), "the attack went on to its end")
        #expect(servedBesideAttackers > 0)
        if !attacker.hasEnded() { kill(attacker.id, SIGTERM) }
        #expect(try server.stop() == 0)
    }

    /// The client always reads something, so it is never idle, but it must be reset. This holds for
    /// a connection that is kept alive and for one that only sends the rest of a response.
    @Test(
        "a client that reads slower than the response rate is reset, although never idle",
        arguments: Form.all, ["keep-alive", "close"])
    func whoTakesALittleNowAndThenIsReset(_ form: Form, _ connection: String) throws {
        let server = try ServerUnderTest(
            form, ["--response-timeout", "500", "--response-rate", "6000000"])
        let client = try server.client(receiveBuffer: 4096)
        client.send("GET /big HTTP/1.1\r\nHost: a\r\nConnection: \(connection)\r\n\r\n")
        var taken = 0
        while let count = try client.take(most: 1000) {
            taken += count
            // At 1,000,000 bytes, the client was served for ten times as long as allowed.
            #expect(count > 0 && taken < 1_000_000, "\(taken) bytes")
            guard count > 0, taken < 1_000_000 else { break }
            usleep(10_000)
        }
        #expect(try server.metrics()["slow_readers_total"] == 1)
        #expect(try server.metrics()["timeout_closes_total"] == 0)
        #expect(try server.stop() == 0)
    }

    /// A long response has more time than a short one, and the next response has its own time.
    @Test("a client that reads a long response slowly receives all of it", arguments: Form.all)
    func whoTakesALongAnswerSlowlyGetsIt(_ form: Form) throws {
        let server = try ServerUnderTest(
            form, ["--response-timeout", "200", "--response-rate", "100000"])
        let client = try server.client(receiveBuffer: 4096)
        for _ in 0..<2 {
            client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            // The wait is several times the time-out, and far less than the time that the length
            // adds to it.
            usleep(600_000)
            #expect(try client.receiveResponse().body == ServerUnderTest.bigFile)
        }
        #expect(try server.metrics()["slow_readers_total"] == 0)
        client.close()
        #expect(try server.stop() == 0)
    }

    /// The server is busy with the requests that follow, and must not wait for ever all the same.
    @Test(
        "a client that does not read its responses times out despite pipelined requests",
        arguments: Form.all)
    func requestsBehindAnAnswerThatIsNotReadKeepNoConnection(_ form: Form) throws {
        let server = try ServerUnderTest(form, ["--idle-timeout", "300"])
        let client = try server.client(receiveBuffer: 4096)
        let request = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n"
        client.send(String(repeating: request, count: 4) + "G")
        let end = ContinuousClock.now + patience
        // The time-out holds for the client of the metrics too. On a slow machine it may be closed.
        while case let metrics = try? server.metrics(), metrics?["timeout_closes_total"] ?? 0 == 0 {
            try #require(ContinuousClock.now < end, "the connection stays open")
            usleep(50_000)
        }
        client.close()
        #expect(try server.stop() == 0)
    }

    /// Endless pipelines of requests whose responses are small, large, or files. A connection may
    /// hold no more than its marks and its unread input, however large the responses would be.
    @Test(
        "a client that never reads uses bounded memory",
        arguments: ["epoll", "io_uring"], ["/plaintext", "/metrics", "/big"])
    func whoNeverReadsCostsBoundedMemory(_ backend: String, _ path: String) throws {
        let server = try ServerUnderTest(Form(backend: backend, loops: 1))
        let floods = 3
        let before = server.residentBytes()
        var clients: [Client] = []
        for _ in 0..<floods {
            let client = try server.client()
            let sent = try client.flood("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n", most: 64 << 20)
            #expect(sent < 64 << 20, "everything was taken")
            clients.append(client)
        }
        let after = server.residentBytes()
        // The bound covers the marks, unread input, and once the buffers that a ring receives into.
        #expect(after - before < (floods + 8) << 20, "from \(before) to \(after)")
        let other = try server.client()
        other.send("GET /json HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try other.receiveResponse().status == 200)
        #expect(try #require(server.metrics()["overflow_closes_total"]) == 0)
        for client in clients { client.close() }
        other.close()
        #expect(try server.stop() == 0)
    }
}
