import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// A group of loops in which one driver fails: the handler's callbacks and their order.
@Suite struct GroupFailureTests {
    /// Two loops, each with its own delegate.
    private final class Pair {
        let network = SimulatedNetwork(seed: 1)
        let drivers = [ScriptedDriver(), ScriptedDriver()]
        let delegates = [RecordingDelegate(), RecordingDelegate()]
        let group: LoopGroup
        private(set) var loops: [SteppedLoop] = []

        init() {
            var configuration = LoopGroup.Configuration()
            configuration.loops = 2
            configuration.reusePort = true
            // Each is used by one thread: the test's if it turns both loops, otherwise its loop's.
            nonisolated(unsafe) let (drivers, delegates) = (drivers, delegates)
            let made = Monitor(0)
            group = LoopGroup(
                configuration,
                LoopGroup.Parts(
                    sockets: SimulatedSockets(network: network),
                    makeDriver: {
                        made.withLock { made in
                            defer { made += 1 }
                            return drivers[made]
                        }
                    }, makeDelegate: { delegates[$0] }, report: { _ in }))
        }

        /// Starts the loops; the test turns them.
        func startStepped() throws { loops = try group.startStepped(group.listen(on: [])) }

        func turn(_ loop: Int, _ completions: [(Token, QueuedEvent)] = []) {
            drivers[loop].script(completions)
            loops[loop].turn()
        }
    }

    @Test("its handler's goodbye waits for the last connection of the others")
    func goodbyeIsLast() throws {
        let pair = Pair()
        try pair.startStepped()
        let address = SocketAddress.unix("/elsewhere", abstract: false)
        for loop in 0..<2 { pair.turn(loop) }
        // Opens a connection of the second loop.
        _ = pair.group.servingRemotes[1].run { loop in
            loop.connect(to: address, isDatagram: true, timeout: 1_000_000_000) { _ in }
        }
        pair.turn(1)
        guard case .attach(_, let token)? = pair.drivers[1].takeRequests().first else {
            Issue.record("nothing was connected")
            return
        }
        pair.drivers[0].waitError = SystemError(EIO, "wait")
        pair.turn(0)
        #expect(pair.drivers[0].isShutDown)
        pair.turn(0)
        #expect(pair.delegates[0].shutDowns == 0)
        #expect(!pair.loops[0].hasEnded)
        // The other loop is stopped, and closes its connection.
        for _ in 0..<3 { pair.turn(1) }
        #expect(pair.delegates[0].shutDowns == 0)
        pair.turn(1, [(token, .closed)])
        pair.turn(1)
        pair.turn(0)
        #expect(pair.delegates[0].shutDowns == 1)
        #expect(pair.delegates[1].shutDowns == 1)
        #expect(pair.loops.map(\.hasEnded) == [true, true])
        pair.turn(0)
        #expect(pair.delegates[0].shutDowns == 1)
    }

    @Test("on threads of their own both end, with a goodbye for each", .timeLimit(.minutes(1)))
    func threads() throws {
        let pair = Pair()
        pair.drivers[0].waitError = SystemError(EIO, "wait")
        let failure = pair.group.start(try pair.group.listen(on: []))
        #expect(failure == nil)
        guard case .failed = pair.group.waitUntilEnded() else {
            Issue.record("it ended for another reason")
            return
        }
        pair.group.join()
        #expect(pair.delegates.map(\.shutDowns) == [1, 1])
    }

    @Test("the last loop to fail says goodbye at once")
    func bothFail() throws {
        let pair = Pair()
        try pair.startStepped()
        for loop in 0..<2 {
            pair.drivers[loop].waitError = SystemError(EIO, "wait")
            pair.turn(loop)
        }
        pair.turn(0)
        #expect(pair.delegates.map(\.shutDowns) == [1, 1])
        #expect(pair.loops.map(\.hasEnded) == [true, true])
    }
}
