import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// The turns of handshakes: how many are under way, and for how long while others wait.
@Suite struct LoopHandshakeTurnTests {
    @Test("handshakes above the limit wait unread, and have their turn in order")
    func handshakesAtOnce() throws {
        var plan = SimulatedFilters.Plan()
        plan.handshakesAtOnce = 1
        try withSecuredStage(filters: plan) { secured in
            let tokens = try (0..<4).map { _ in
                let (token, requests) = try secured.accept()
                #expect(requests == [.receive(token)])
                return token
            }
            // The first peer says nothing and takes no turn.
            let hello = SimulatedRecords().hello
            let requests = secured.turn((tokens[1], .received(hello)))
            guard case .send(let greeting, tokens[1]) = requests.last else {
                throw Stage.Unexpected(requests: requests)
            }
            secured.turn((tokens[1], .sent(greeting.count)))
            for token in tokens[2...] {
                #expect(secured.turn((token, .received(hello))) == [.stop(.receive, token)])
            }
            let wire = secured.wireCount
            for token in tokens[2...] { secured.turn((token, .stopped(.receive))) }
            #expect(secured.wireCount == wire)
            let reset = QueuedEvent.failed(.receive, SystemError(ECONNRESET, "recv"))
            let ended = secured.turn((tokens[1], reset))
            #expect(ended.contains(.close(tokens[1])))
            #expect(ended.contains(.receive(tokens[2])))
            #expect(!ended.contains(.receive(tokens[3])))
            #expect(secured.wireCount > wire)
        }
    }

    @Test("a peer that sends more than a first flight before its turn is a failed handshake")
    func bytesBeforeTheTurn() throws {
        var plan = SimulatedFilters.Plan()
        plan.handshakesAtOnce = 1
        try withSecuredStage(filters: plan) { secured in
            let tokens = try (0..<3).map { _ in try secured.accept().token }
            let failures = { secured.stage.loop.remote.counters.handshakeFailures.current }
            let hello = SimulatedRecords().hello
            secured.turn((tokens[0], .received([hello[0]])))
            let most = [UInt8](repeating: 1, count: 32_768 - hello.count)
            for token in tokens[1...] {
                #expect(secured.turn((token, .received(hello))) == [.stop(.receive, token)])
                // The stream had brought them before it stopped.
                secured.turn((token, .received(most)))
            }
            #expect(failures() == 0)
            let ended = secured.turn((tokens[1], .received([1]))) + secured.turn()
            #expect(failures() == 1)
            #expect(ended.contains(.shutdownWrite(tokens[1])), "\(ended)")
            secured.turn((tokens[1], .received(most)))
            #expect(failures() == 1)
            // The turn is for the one behind it.
            let reset = QueuedEvent.failed(.receive, SystemError(ECONNRESET, "recv"))
            secured.turn((tokens[2], .stopped(.receive)))
            let wire = secured.wireCount
            secured.turn((tokens[0], reset))
            #expect(secured.wireCount > wire)
        }
    }

    @Test("peers that stop in their handshakes keep a turn for a second while others wait")
    func longTurns() throws {
        var plan = SimulatedFilters.Plan()
        plan.handshakesAtOnce = 2
        try withSecuredStage(filters: plan) { secured in
            let tokens = try (0..<5).map { _ in try secured.accept().token }
            let hello = SimulatedRecords().hello
            for token in tokens[..<2] { secured.turn((token, .received([hello[0]]))) }
            // None waits, so slow peers have the whole time.
            secured.turn(after: .milliseconds(3_000))
            #expect(secured.stage.loop.remote.counters.handshakeFailures.current == 0)
            for token in tokens[2...] { secured.turn((token, .received(hello))) }
            let wire = secured.wireCount
            let requests = secured.turn(after: .milliseconds(250)) + secured.turn()
            #expect(requests.contains(.close(tokens[0])) && requests.contains(.close(tokens[1])))
            // The next two have their turn, and the last one waits for theirs.
            #expect(secured.wireCount > wire)
            #expect(secured.stage.loop.remote.counters.handshakeFailures.current == 2)
            secured.turn(after: .milliseconds(900))
            #expect(secured.stage.loop.remote.counters.handshakeFailures.current == 2)
            secured.turn(after: .milliseconds(350))
            secured.turn()
            #expect(secured.stage.loop.remote.counters.handshakeFailures.current >= 3)
        }
    }

    @Test("a handshake whose bytes wait in the kernel keeps its turn for one more second")
    func unreadFlight() throws {
        var plan = SimulatedFilters.Plan()
        plan.handshakesAtOnce = 1
        try withSecuredStage(filters: plan) { secured in
            let tokens = try (0..<2).map { _ in try secured.accept().token }
            let failures = { secured.stage.loop.remote.counters.handshakeFailures.current }
            let hello = SimulatedRecords().hello
            secured.turn((tokens[0], .received([hello[0]])))
            secured.stage.peers[0].send(Array(hello.dropFirst()))
            secured.stage.network.runDue()
            secured.turn((tokens[1], .received(hello)))
            secured.turn(after: .milliseconds(1_500))
            secured.turn()
            #expect(failures() == 0)
            secured.turn(after: .milliseconds(600))
            secured.turn()
            #expect(failures() == 1)
        }
    }
}
