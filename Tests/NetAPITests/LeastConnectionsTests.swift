/// Tests that `.leastConnections` counts connections handed to a loop, also before that loop
/// handles them.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct LeastConnectionsTests {
    private static let loops = 4

    private func options(_ backend: Backend) -> Options {
        Setup(backend: backend, loops: Self.loops).options { $0.balancer = .leastConnections }
    }

    /// Without the acceptor, which comes last.
    private func loads(_ server: TestServer) -> [Int] {
        server.server.loopStatistics.prefix(Self.loops).map(\.open)
    }

    @Test("a burst of connections is distributed evenly over the loops", arguments: Setup.backends)
    func aBurstIsSpreadEvenly(_ backend: Backend) throws {
        try #require(Probe.allowDescriptors(2_000))
        let setup = Setup(backend: backend, loops: Self.loops)
        try withServer(setup, options: options(backend)) { server in
            // Fewer than four loops that are held up accept, so that none is passed over for it.
            let clients = try (0..<200).map { _ in try server.connect() }
            try eventually("all are open") { server.server.connectionCount == clients.count }
            let open = loads(server)
            #expect(open.allSatisfy { (45...55).contains($0) }, "\(open)")
            for client in clients { client.close() }
        }
    }

    @Test("connections assigned to a blocked loop are counted", arguments: Setup.backends)
    func loopsThatAreHeldUpAreNotTakenForEmptyOnes(_ backend: Backend) throws {
        let setup = Setup(backend: backend, loops: Self.loops)
        let (gate, held) = (Gate(), Shared(0))
        let handler = TestHandler(traffic: { connection in
            if connection.next().equals("block") {
                held.update { $0 += 1 }
                gate.wait()
            } else {
                connection.write("\(connection.loop.index)")
            }
            return .none
        })
        try withServer(setup, handler, options: options(backend)) { server in
            defer { gate.open() }
            var homes: [Int: [TestClient]] = [:]
            for _ in 0..<2 * Self.loops {
                let client = try server.connect()
                try client.send("?")
                let home = Int(try client.receiveText(exactly: 1)) ?? -1
                homes[home, default: []].append(client)
            }
            try #require(loads(server) == Array(repeating: 2, count: Self.loops))
            // The first loop has one connection less than the others, and then all loops are
            // blocked.
            homes[0]?.removeLast().close()
            try eventually("one has left") { loads(server)[0] == 1 }
            for clients in homes.values { try clients[0].send("block") }
            try eventually("all are held up") { held.value == Self.loops }
            let before = server.server.statistics.accepted
            let late = try (0..<37).map { _ in try server.connect() }
            try eventually("all are accepted") {
                server.server.statistics.accepted == before + late.count
            }
            gate.open()
            try eventually("all are open") { server.server.connectionCount == 44 }
            #expect(loads(server) == Array(repeating: 11, count: Self.loops))
        }
    }
}
