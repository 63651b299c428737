import Glibc
import MillraceSimulation
import Testing

@testable import MillraceEventLoop

/// An acceptor without free descriptors, while the loops that it accepts for close connections.
@Suite struct GroupAcceptTests {
    /// Two loops that serve, and one that accepts for them.
    private final class Trio {
        private static let host = SocketAddress.v4(IPv4Bytes(1), port: 0)

        let network = SimulatedNetwork(seed: 1)
        let drivers = [ScriptedDriver(), ScriptedDriver(), ScriptedDriver()]
        let delegates = [RecordingDelegate(), RecordingDelegate()]
        let group: LoopGroup
        private let sockets: SimulatedSockets
        private let loops: [SteppedLoop]
        private let bound: BoundListener
        /// The acceptor's token for its listener.
        private(set) var listener = Token(slot: 0, generation: 0)

        init() throws {
            var configuration = LoopGroup.Configuration()
            configuration.loops = 2
            // One thread turns all loops.
            nonisolated(unsafe) let (drivers, delegates) = (drivers, delegates)
            let made = Monitor(0)
            sockets = SimulatedSockets(network: network)
            group = LoopGroup(
                configuration,
                LoopGroup.Parts(
                    sockets: sockets,
                    makeDriver: {
                        made.withLock { made in
                            defer { made += 1 }
                            return drivers[made]
                        }
                    }, makeDelegate: { delegates[$0] }, report: { _ in }))
            let listeners = try group.listen(on: [ListenAddress(Self.host)])
            bound = listeners.perLoop[2][0].bound
            loops = try group.startStepped(listeners)
            for loop in 0..<2 { turn(loop) }
            guard case .attach(_, let token) = turn(2).first else {
                throw SystemError(EINVAL, "accept")
            }
            listener = token
        }

        /// Runs one turn, at the same time as the last one. Returns the loop's requests.
        @discardableResult
        func turn(
            _ loop: Int, _ completions: [(Token, QueuedEvent)] = []
        ) -> [ScriptedDriver.Request] {
            _ = drivers[loop].takeRequests()
            drivers[loop].script(completions)
            loops[loop].turn()
            return drivers[loop].takeRequests()
        }

        /// The acceptor's accept fails. Returns the acceptor's requests.
        @discardableResult
        func fail() -> [ScriptedDriver.Request] {
            turn(2, [(listener, .failed(.accept, SystemError(EMFILE, "accept")))])
        }

        /// Accepts the first connection, which the first loop serves. Returns its token there.
        func accept() throws -> Token {
            _ = network.connect(to: bound.address)
            network.runDue()
            let stream = try #require(try sockets.acceptWaiting(on: bound.descriptor))
            turn(2, [(listener, .accepted(stream.descriptor))])
            turn(0)
            return try #require(delegates[0].lastOpened)
        }

        func close(_ token: Token) {
            _ = group.servingRemotes[0].run { loop in
                if let connection = loop.find(token) { loop.abort(connection, .local) }
            }
            turn(0)
            turn(0, [(token, .closed)])
        }

        /// Ends the loops like after failures of their drivers.
        func finish() {
            for driver in drivers { driver.waitError = SystemError(EIO, "wait") }
            for _ in 0..<2 { for loop in 0..<3 { turn(loop) } }
            #expect(loops.map(\.hasEnded) == [true, true, true])
        }

        var acceptorHasMessages: Bool { group.remotes[2].mailbox.mayHoldMessages }
    }

    @Test("a connection that closes on another loop ends the acceptor's back-off at once")
    func closeElsewhere() throws {
        let trio = try Trio()
        defer { trio.finish() }
        let connection = try trio.accept()
        #expect(trio.fail() == [])
        #expect(trio.turn(2) == [])
        trio.close(connection)
        #expect(trio.turn(2) == [.accept(trio.listener)])
    }

    /// The kernel may have refused the accept before the close, and the failure is on its way.
    @Test("a close while an accept is tried again is not forgotten when that fails")
    func closeWhileTrying() throws {
        let trio = try Trio()
        defer { trio.finish() }
        let connection = try trio.accept()
        trio.fail()
        trio.drivers[2].now += 20_000_000
        trio.turn(2)
        #expect(trio.turn(2) == [.accept(trio.listener)])
        trio.close(connection)
        #expect(trio.fail() == [])
        #expect(trio.turn(2) == [.accept(trio.listener)])
        // Only once: no other connection has closed.
        trio.fail()
        #expect(trio.turn(2) == [])
    }

    @Test("the end of two addresses is reported once, when the sockets of both are closed")
    func endsOfTwo() throws {
        let trio = try Trio()
        defer { trio.finish() }
        let added = try trio.group.listen(
            alsoOn: ListenAddress(.v4(IPv4Bytes(1), port: 0)))
        guard case .attach(_, let other) = trio.turn(2).first else {
            Issue.record("it does not listen")
            return
        }
        let closed = Monitor(0)
        trio.group.stopListening([0, added.place]) { closed.withLock { $0 += 1 } }
        let stops = trio.turn(2)
        #expect(stops == [.stop(.accept, trio.listener), .stop(.accept, other)])
        for (ended, listener) in [trio.listener, other].enumerated() {
            #expect(closed.withLock { $0 } == 0, "\(ended) of 2 have closed")
            #expect(trio.turn(2, [(listener, .stopped(.accept))]) == [.close(listener)])
            trio.turn(2, [(listener, .closed)])
        }
        #expect(closed.withLock { $0 } == 1)
    }

    @Test("a close posts nothing while accepts succeed, and once while one waits")
    func closesWithoutNeed() throws {
        let trio = try Trio()
        defer { trio.finish() }
        trio.close(try trio.accept())
        #expect(!trio.acceptorHasMessages)
        trio.fail()
        trio.group.connectionAdded()
        trio.group.connectionClosed()
        #expect(trio.acceptorHasMessages)
        #expect(trio.turn(2) == [.accept(trio.listener)])
    }
}
