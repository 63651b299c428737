/// Tests that bytes come back unchanged: many streams, chunks of any size, every kind of stream
/// address and loop arrangement.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct EchoTests {
    @Test(
        "sixty streams in chunks of any size are echoed byte for byte",
        arguments: Setup.receiving)
    func sixtyStreamsInChunksOfAnySizeComeBackByteExact(_ setup: Setup) throws {
        try withServer(setup) { server in
            var random = SplitMix64(seed: 60)
            var flows = try (0..<60).map { index in
                let length = index < 10 ? 1 << 20 : random.size(1...1 << 20)
                var flow = Flow(try server.connect(), stream: index, length: length)
                flow.chunks = 3...300_000
                flow.endsAfterSending = index % 2 == 0
                return flow
            }
            try Exchange.run(&flows)
        }
    }

    @Test(
        "four thousand connections at once each receive their own bytes",
        arguments: Setup.receiving)
    func fourThousandConnectionsAtOnceStayUncrossed(_ setup: Setup) throws {
        let wanted = 4000
        try #require(Probe.allowDescriptors(2 * wanted + 500), "too few descriptors allowed")
        try withServer(setup) { server in
            let clients = try (0..<wanted).map { _ in try server.connect() }
            for (number, client) in clients.enumerated() { try client.send(greeting(number)) }
            for (number, client) in clients.enumerated().reversed() {
                let expected = greeting(number)
                #expect(try client.receive(exactly: expected.count) == expected)
            }
            #expect(server.server.connectionCount == wanted)
            for (number, client) in clients.enumerated() where number % 97 == 0 {
                #expect(try client.roundTrip(greeting(number)))
            }
        }
    }

    private func greeting(_ number: Int) -> [UInt8] {
        Array("this is client \(number) of many".utf8)
    }

    @Test(
        "TCP over IPv4 and IPv6 and Unix sockets with a path or an abstract name echo",
        arguments: Setup.receiving,
        [
            anyPort, "tcp://[::1]:0", .unix(TemporaryPath.make()),
            .unix("@\(TemporaryPath.make())"),
        ])
    func everyKindOfStreamAddressServes(_ setup: Setup, _ address: Address) throws {
        try withServer(setup, listen: [address]) { server in
            try exchange(with: server, clients: 6, length: 200_000)
        }
    }

    @Test(
        "the server echoes with every balancer",
        arguments: Setup.receiving, [Options.Balancer.roundRobin, .leastConnections, .sourceHash])
    func everyBalancerServes(_ setup: Setup, _ balancer: Options.Balancer) throws {
        try withServer(setup, options: setup.options { $0.balancer = balancer }) { server in
            try exchange(with: server, clients: 10, length: 100_000)
        }
    }

    @Test("loops with their own listeners echo", arguments: Setup.receiving)
    func loopsWithListenersOfTheirOwnServe(_ setup: Setup) throws {
        try withServer(setup, options: setup.options { $0.reusePort = true }) { server in
            try exchange(with: server, clients: 10, length: 100_000)
        }
    }

    @Test("pinned loops echo", arguments: Setup.receiving)
    func pinnedLoopsServe(_ setup: Setup) throws {
        try withServer(setup, options: setup.options { $0.pinLoops = true }) { server in
            try exchange(with: server, clients: 4, length: 100_000)
        }
    }

    @Test("one server echoes on several addresses at the same time", arguments: Setup.receiving)
    func severalAddressesServeSideBySide(_ setup: Setup) throws {
        let paths = [TemporaryPath.make(), TemporaryPath.make()]
        let listen = [anyPort, "tcp://[::1]:0"] + paths.map { Address.unix($0) }
        try withServer(setup, listen: listen) { server in
            #expect(server.addresses.count == listen.count)
            var flows = try (0..<8).map { index in
                Flow(try server.connect(index % 4), stream: index, length: 150_000)
            }
            try Exchange.run(&flows)
        }
    }

    private func exchange(with server: TestServer, clients: Int, length: Int) throws {
        var flows = try (0..<clients).map { index in
            var flow = Flow(try server.connect(), stream: index, length: length)
            flow.chunks = 1000...100_000
            return flow
        }
        try Exchange.run(&flows)
    }

    @Test("a connection answers 500 small requests one after the other", arguments: Setup.receiving)
    func manySmallRequestsOneAfterTheOther(_ setup: Setup) throws {
        try withServer(setup) { server in
            let client = try server.connect()
            for number in 0..<500 { #expect(try client.roundTrip(greeting(number))) }
        }
    }

    @Test("a client that reads slowly receives all 32 MiB of a stream", arguments: Setup.receiving)
    func aSlowlyReadStreamOfThirtyTwoMiBArrivesWhole(_ setup: Setup) throws {
        let pattern = Pattern(stream: 1)
        let size = 32 << 20
        let handler = TestHandler(traffic: { connection in
            guard connection.discardAll() > 0 else { return .none }
            for start in stride(from: 0, to: size, by: 1 << 20) {
                connection.write(pattern.bytes(1 << 20, from: start))
            }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try client.send("all of it")
            try client.receive(pattern, exactly: size)
        }
    }
}
