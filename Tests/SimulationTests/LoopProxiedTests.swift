import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Connections behind a proxy: the header before the handler's bytes, with and without a filter.
@Suite struct LoopProxiedTests {
    private static let header = Array("PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n".utf8)
    private static let client = SocketAddress(host: "192.0.2.1", port: 1234)

    private func accept(
        _ stage: Stage, _ layers: StreamLayers = .proxied
    ) throws -> Token {
        stage.owner.connectionAdded()
        var stream = try stage.makeStream()
        stream.layers = layers
        let requests = stage.turn(message: .adopt(stream, listener: 0, host: nil))
        guard case .attach(stream.descriptor, let token) = requests.first else {
            throw Stage.Unexpected(requests: requests)
        }
        #expect(Array(requests.dropFirst()) == [.receive(token)])
        return token
    }

    private func remoteAddress(_ stage: Stage, _ token: Token) -> SocketAddress? {
        stage.loop.find(token)?.details?.takeUnretainedValue().remoteAddress
    }

    @Test("no handler knows of a connection before its header, whose bytes are not shown")
    func header() throws {
        try withStage { stage in
            let token = try accept(stage)
            stage.turn((token, .received(Array(Self.header.dropLast()))))
            #expect(stage.delegate.take(token) == [])
            stage.turn((token, .received(Array(Self.header.suffix(1)) + [1, 2])))
            #expect(stage.delegate.take(token) == [.opened, .traffic([1, 2])])
            #expect(remoteAddress(stage, token) == Self.client)
            stage.turn((token, .received([3])))
            #expect(stage.delegate.take(token) == [.traffic([3])])
            #expect(stage.turn((token, .endOfStream)).contains(.close(token)))
            #expect(stage.delegate.take(token) == [.closed("peer")])
        }
    }

    @Test("a header of single bytes is read as one in one piece")
    func everyCut() throws {
        try withStage { stage in
            let token = try accept(stage)
            for byte in Self.header { stage.turn((token, .received([byte]))) }
            #expect(stage.delegate.take(token) == [.opened])
            #expect(remoteAddress(stage, token) == Self.client)
        }
    }

    @Test("behind the header comes the handshake, also in the same piece")
    func secured() throws {
        try withSecuredStage { secured in
            for cut in [0, 7, Self.header.count] {
                let token = try accept(secured.stage, [.proxied, .secured])
                let hello = SimulatedRecords().hello
                secured.turn((token, .received(Array(Self.header.prefix(cut)))))
                secured.turn((token, .received(Array(Self.header.dropFirst(cut)) + hello)))
                #expect(secured.wireCount > 0)
                #expect(secured.stage.delegate.take(token) == [])
                #expect(remoteAddress(secured.stage, token) == Self.client)
                secured.turn((token, .failed(.receive, SystemError(ECONNRESET, "recv"))))
                _ = secured.takePlain()
            }
            // A header is no handshake.
            #expect(secured.stage.loop.remote.counters.handshakeFailures.current == 3)
        }
    }

    @Test("a header takes no turn of the handshakes")
    func turns() throws {
        var plan = SimulatedFilters.Plan()
        plan.handshakesAtOnce = 1
        try withSecuredStage(filters: plan) { secured in
            let (first, _) = try secured.accept()
            secured.turn((first, .received(secured.record(.hello))))
            // The first has the only turn.
            let token = try accept(secured.stage)
            secured.turn((token, .received(Self.header)))
            #expect(secured.stage.delegate.take(token) == [.opened])
            let reset = QueuedEvent.failed(.receive, SystemError(ECONNRESET, "recv"))
            secured.turn((first, reset))
        }
    }

    @Test("another protocol closes the connection, counted and without a handler's call")
    func otherProtocol() throws {
        try withStage { stage in
            let token = try accept(stage)
            let requests = stage.turn((token, .received(Array("GET / HTTP/1.1\r\n\r\n".utf8))))
            #expect(requests.contains(.shutdownWrite(token)) || requests.contains(.close(token)))
            stage.turn((token, .endOfStream))
            #expect(stage.delegate.take(token) == [])
            #expect(stage.loop.remote.counters.handshakeFailures.current == 1)
        }
    }

    /// An attacker in front of the proxy may add bytes to the segment with the header.
    @Test("bytes behind a header are the filter's if onOpen upgrades")
    func upgradeInOnOpen() throws {
        try withSecuredStage { secured in
            let token = try accept(secured.stage)
            secured.stage.delegate.onOpened = { [filters = secured.filters] loop, connection in
                try? loop.upgrade(connection, by: filters, isOwn: false) {
                    filters.accepting(on: 0)
                } secured: {
                }
            }
            secured.turn((token, .received(Self.header + SimulatedRecords().hello)))
            #expect(secured.wireCount > 0)
            #expect(secured.stage.delegate.take(token) == [.opened])
        }
    }

    @Test("checks that end without a byte, or with a reset, are no failures")
    func check() throws {
        try withSecuredStage { secured in
            let reset = QueuedEvent.failed(.receive, SystemError(ECONNRESET, "recv"))
            for layers in [.proxied, [.proxied, .secured]] as [StreamLayers] {
                for end in [.endOfStream, reset] as [QueuedEvent] {
                    for header in [[], Array("PROXY UNKNOWN\r\n".utf8)] {
                        let token = try accept(secured.stage, layers)
                        if !header.isEmpty { secured.turn((token, .received(header))) }
                        #expect(secured.turn((token, end)).contains(.close(token)))
                    }
                }
            }
            #expect(secured.stage.loop.remote.counters.handshakeFailures.current == 0)
        }
        try withStage { stage in
            let cut = try accept(stage)
            stage.turn((cut, .received([0x50])))
            stage.turn((cut, .endOfStream))
            #expect(stage.loop.remote.counters.handshakeFailures.current == 1)
            #expect(stage.delegate.take(cut) == [])
        }
    }

    @Test("a header has one deadline, whatever trickles in")
    func deadline() throws {
        var configuration = LoopConfiguration()
        configuration.proxyHeaderTimeout = .milliseconds(300)
        try withStage(configuration) { stage in
            let token = try accept(stage)
            var requests: [Stage.Request] = []
            for byte in Self.header where requests.isEmpty {
                requests = stage.turn(after: .milliseconds(10), (token, .received([byte])))
                requests += stage.turn()
            }
            #expect(requests == [.close(token)])
            #expect(stage.loop.remote.counters.timeouts.current == 1)
        }
    }

    @Test("hosts are counted by the client's address, and let go at the end")
    func hosts() throws {
        var configuration = LoopConfiguration()
        configuration.countsHosts = true
        try withStage(configuration) { stage in
            stage.owner.mostPerHost = 1
            let first = try accept(stage)
            stage.turn((first, .received(Self.header)))
            let second = try accept(stage)
            let requests = stage.turn((second, .received(Self.header + [1])))
            #expect(requests.contains(.close(second)))
            #expect(stage.delegate.take(second) == [])
            #expect(stage.loop.remote.counters.hostRefusals.current == 1)
            // A health check has no client.
            let check = try accept(stage)
            stage.turn((check, .received(Array("PROXY UNKNOWN\r\n".utf8))))
            #expect(stage.delegate.take(check) == [.opened])
            stage.turn((first, .endOfStream), (first, .closed))
            let third = try accept(stage)
            stage.turn((third, .received(Self.header)))
            #expect(stage.delegate.take(third) == [.opened])
        }
    }

    @Test("a stop waits for the header of a client that has just come, then serves it")
    func drain() throws {
        try withStage { stage in
            let token = try accept(stage)
            let silent = try accept(stage)
            stage.stopAccepting()
            stage.turn(message: .drain(within: .milliseconds(2_000)))
            stage.turn(after: .milliseconds(50), (token, .received(Self.header + [7])))
            #expect(stage.delegate.take(token) == [.opened, .traffic([7])])
            let requests = stage.turn(after: .milliseconds(60)) + stage.turn()
            #expect(requests.contains(.close(silent)))
        }
    }

    @Test("bytes behind a header that come while the handler pauses are kept in order")
    func pause() throws {
        try withStage { stage in
            let token = try accept(stage)
            stage.delegate.onOpened = { $0.pauseReading($1) }
            let requests = stage.turn((token, .received(Self.header + [1, 2])))
            #expect(requests.contains(.stop(.receive, token)))
            #expect(stage.delegate.take(token) == [.opened])
            stage.turn((token, .stopped(.receive)))
            stage.resume(token)
            #expect(stage.delegate.take(token) == [.traffic([1, 2])])
        }
    }
}
