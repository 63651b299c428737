/// Tests of the input of tasks up to its end: whole behind an end, and read before an error.
import Glibc
import MillraceTestSupport
import NetAPI
import NetTLS
import Testing

@Suite struct TaskInputTests {
    private static let pattern = Pattern(stream: 8)

    /// Reads everything, checks it against the pattern, and notes its number and the end.
    private static func readAll(
        _ connection: AsyncConnection, _ results: Shared<[String]>
    ) async throws {
        var count = 0
        do {
            for try await bytes in connection.chunks {
                try pattern.verify(bytes, at: count)
                count += bytes.count
            }
            results.update { $0.append("\(count), end") }
        } catch let error as NetError {
            results.update { $0.append("\(count), \(error.code)") }
            throw error
        }
    }

    @Test(
        "a task that works reads what came before a reset, then gets the error",
        arguments: Setup.receiving)
    func reset(_ setup: Setup) throws {
        let gate = AsyncGate()
        let (results, loop) = (Shared<[String]>([]), Shared<LoopHandle?>(nil))
        let size = 20_000
        try TaskTests.with(setup) { connection in
            _ = try await connection.read(exactly: 1) { _ in }
            loop.value = connection.loop
            await gate.wait()
            try await Self.readAll(connection, results)
        } _: { server in
            let client = try server.connect()
            try client.send("x")
            try eventually("the task works") { gate.guests == 1 }
            try client.sendAndReset(Self.pattern.bytes(size))
            try eventually("all has come") { server.server.statistics.bytesIn > size }
            try #require(loop.value).pass(.milliseconds(50))
            #expect(server.server.connectionCount == 1)
            gate.open()
            try server.waitUntilEmpty()
        }
        #expect(results.value == ["\(size), system"])
    }

    @Test("an upload that a stop or a close cuts does not look whole", arguments: Setup.all)
    func cutUpload(_ setup: Setup) throws {
        for isStop in [true, false] {
            let results = Shared<[String]>([])
            let handle = Shared<ConnectionHandle?>(nil)
            try TaskTests.with(setup) { connection in
                handle.value = connection.handle
                try await Self.readAll(connection, results)
            } _: { server in
                let client = try server.connect()
                try client.send(Self.pattern.bytes(5_000))
                try eventually("it has come") { server.server.statistics.bytesIn >= 5_000 }
                if isStop {
                    try bounded("stop") { server.server.stop(within: .seconds(5)) }
                } else {
                    handle.value?.close()
                }
                try eventually("the end") { results.value.count == 1 }
                _ = try client.receiveUntilEnd()
            }
            #expect(results.value == ["5000, closed"])
        }
    }

    @Test("a client's task reads an answer before the reset behind it", arguments: Setup.receiving)
    func earlyAnswer(_ setup: Setup) async throws {
        let results = Shared<[String]>([])
        let upstream = try RawListener()
        let client = try Client(options: setup.options())
        try client.start()
        let rounds = 20
        for round in 1...rounds {
            let talk = Task {
                try await client.withConnection(to: upstream.address) { connection in
                    try await connection.write("x")
                    try await Self.readAll(connection, results)
                }
            }
            let far = try upstream.accept()
            // A reset before the loop has seen the connect would be the error of the connect.
            _ = try far.receive(exactly: 1)
            try far.sendAndReset(Self.pattern.bytes(30_000))
            _ = try await patiently("round \(round)") { await talk.result }
        }
        await client.stop()
        #expect(results.value == Array(repeating: "30000, system", count: rounds))
    }

    /// The client's last flight, its data and its end arrive in one piece while the loop is busy.
    @Test(
        "data and an end behind a handshake that is computed elsewhere are read",
        arguments: Setup.receiving)
    func endBehindHandshake(_ setup: Setup) throws {
        let results = Shared<[String]>([])
        let handle = Shared<ConnectionHandle?>(nil)
        let tls = try TLSTest.server { $0.handshakeThreads = 1 }
        let options = setup.options {
            $0.tls = tls
            $0.loops = .count(1)
        }
        let listen: [Address] = ["tls://127.0.0.1:0", "tcp://127.0.0.1:0"]
        let server = try Server(listen: listen, options: options) { connection in
            if connection.tls == nil { handle.value = connection.handle }
            try await Self.readAll(connection, results)
        }
        try serve(server) { server in
            let holder = try TestClient(to: server.addresses[1])
            try eventually("a handle") { handle.value != nil }
            for _ in 0..<5 {
                let port = try #require(server.addresses[0].port)
                let client = try TestClient(to: .tcp("127.0.0.1", port: port))
                let flight = try Self.lastFlight(of: client)
                let isSent = Shared(false)
                handle.value?.execute { _ in try? eventually("the flight") { isSent.value } }
                try client.send(flight)
                client.shutdownWrite()
                isSent.value = true
                _ = try client.receiveUntilEnd()
            }
            try eventually("all are read") { results.value.count == 5 }
            #expect(results.value == Array(repeating: "100, end", count: 5))
            holder.close()
        }
    }

    /// Returns the end of a handshake on this plain connection, with 100 bytes and the end of the
    /// stream behind it.
    private static func lastFlight(of client: TestClient) throws -> [UInt8] {
        let tls = try ClientTLS()
        var flight: [UInt8] = []
        let take = { (bytes: UnsafeRawBufferPointer) in
            flight += bytes
            return bytes.count
        }
        tls.take(UnsafeRawBufferPointer(start: nil, count: 0))
        while !tls.isEstablished {
            flight = []
            _ = tls.withUnsent(take)
            if !flight.isEmpty { try client.send(flight) }
            try client.wait(for: POLLIN, Deadline(), "the server's flight")
            var buffer = [UInt8](repeating: 0, count: 16_384)
            let count = recv(client.descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { throw SystemFailure("recv") }
            buffer.withUnsafeBytes { tls.take(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
        flight = []
        #expect(pattern.bytes(100).withUnsafeBytes { tls.seal($0) })
        tls.sealEnd()
        _ = tls.withUnsent(take)
        return flight
    }
}
