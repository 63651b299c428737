import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Unread bytes when the library itself stops reading, and how reading resumes.
@Suite struct LoopPressureTests {
    private let long = [UInt8](repeating: 7, count: 20)

    private var congestible: LoopConfiguration {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 10
        configuration.outboundLowMark = 4
        configuration.inboundLimit = 4
        return configuration
    }

    /// Returns a connection whose first byte was answered by more than the high mark, and which
    /// received `late` after that.
    private func makeThrottled(_ stage: Stage, late: [UInt8]) throws -> Token {
        let token = try stage.open()
        let long = long
        stage.delegate.onTraffic = { loop, connection, _ in loop.write(connection, long) }
        let requests = stage.turn((token, .received([1])))
        #expect(requests == [.send(long, token), .stop(.receive, token)])
        let stopped = stage.turn((token, .received(late)), (token, .stopped(.receive)))
        #expect(stopped == [.watch(token)])
        #expect(stage.delegate.take(token) == [.traffic([1])])
        stage.delegate.onTraffic = nil
        return token
    }

    /// Each holds a descriptor, and its bytes need no memory.
    @Test("the outbound limit bounds the number of waiting files")
    func waitingFilesAreBounded() throws {
        var configuration = LoopConfiguration()
        configuration.outboundLimit = 1 << 20
        try withStage(configuration) { stage in
            let token = try stage.open()
            let zero = open("/dev/zero", O_RDONLY | O_CLOEXEC)
            defer { close(zero) }
            stage.turn(token) { loop, connection in
                for _ in 0..<15 {
                    try? loop.sendFile(
                        connection, FilePart(duplicating: zero, offset: 0, left: 6))
                }
            }
            #expect(stage.remote.counters.outboundOverflows.current == 0)
            stage.turn(token) { loop, connection in
                for _ in 0..<200 {
                    try? loop.sendFile(
                        connection, FilePart(duplicating: zero, offset: 0, left: 6))
                }
                #expect(connection.outbound.backlog < 1 << 20)
            }
            #expect(stage.delegate.take(token) == [.closed("outboundOverflow")])
        }
    }

    /// io_uring may have received them already.
    @Test("more than the cap that comes after the handler's own pause closes nothing")
    func lateBytesAfterTheHandlersPause() throws {
        try withStage(congestible) { stage in
            let token = try stage.open()
            stage.delegate.onTraffic = { loop, connection, _ in loop.pauseReading(connection) }
            #expect(stage.turn((token, .received([1]))) == [.stop(.receive, token)])
            let late = stage.turn((token, .received(long)), (token, .stopped(.receive)))
            #expect(late == [.watch(token)])
            #expect(stage.delegate.take(token) == [.traffic([1])])
            stage.delegate.onTraffic = nil
            stage.resume(token)
            #expect(stage.delegate.take(token) == [.traffic(long)])
        }
    }

    @Test("more than the cap that comes after the library's own pause closes nothing")
    func lateBytesAboveTheCap() throws {
        try withStage(congestible) { stage in
            let token = try makeThrottled(stage, late: long)
            #expect(stage.turn((token, .sent(20))) == [.receive(token)])
            // Bytes above the cap do not close the connection, and are all delivered.
            #expect(stage.delegate.take(token) == [.writable, .traffic(long)])
        }
    }

    @Test("reading goes on only after what is unread was shown, and not if that fills the queue")
    func shownBeforeMoreIsRead() throws {
        try withStage(congestible) { stage in
            let token = try makeThrottled(stage, late: [2])
            let long = long
            stage.delegate.onTraffic = { loop, connection, _ in loop.write(connection, long) }
            #expect(stage.turn((token, .sent(20))) == [.send(long, token)])
            #expect(stage.delegate.take(token) == [.writable, .traffic([2])])
            stage.delegate.onTraffic = nil
            #expect(stage.turn((token, .sent(20))) == [.receive(token)])
        }
    }

    @Test("a stop that is answered between a relief and what is shown for it starts nothing")
    func stoppedBesideARelief() throws {
        try withStage(congestible) { stage in
            let token = try stage.open()
            let long = long
            stage.delegate.onTraffic = { loop, connection, _ in loop.write(connection, long) }
            stage.turn((token, .received([1])))
            let requests = stage.turn(
                (token, .received([2])), (token, .sent(20)), (token, .stopped(.receive)))
            #expect(requests == [.send(long, token), .watch(token)])
            #expect(stage.delegate.take(token) == [.traffic([1]), .writable, .traffic([2])])
        }
    }

    @Test("an end in the turn of a relief comes after what was unread")
    func endBesideARelief() throws {
        try withStage(congestible) { stage in
            let token = try stage.open()
            let long = long
            stage.delegate.onTraffic = { loop, connection, _ in loop.write(connection, long) }
            stage.turn((token, .received([1])))
            stage.delegate.onTraffic = nil
            #expect(stage.delegate.take(token) == [.traffic([1])])
            let requests = stage.turn(
                (token, .received([2])), (token, .sent(20)), (token, .endOfStream))
            #expect(requests == [.close(token)])
            #expect(stage.delegate.take(token) == [.writable, .traffic([2]), .closed("peer")])
        }
    }

    @Test("a connection that reads ahead is not stopped, and stops when it no longer does")
    func readsAhead() throws {
        try withStage(congestible) { stage in
            let token = try stage.open()
            stage.turn(token) { $0.setReadsAhead($1, true) }
            #expect(stage.write(long, to: token) == [.send(long, token)])
            let stopped = stage.turn(token) { $0.setReadsAhead($1, false) }
            #expect(stopped == [.stop(.receive, token)])
            #expect(stage.turn(token) { $0.setReadsAhead($1, true) } == [])
            #expect(stage.turn((token, .stopped(.receive))) == [.receive(token)])
        }
    }

    // MARK: Turns

    @Test("a turn handles so many messages, and a stop overtakes those that are left")
    func messageBudget() throws {
        try withStage { stage in
            let ran = Runs()
            for _ in 0..<1_000 { stage.remote.run { _ in ran.add() } }
            stage.turn()
            #expect((1...256).contains(ran.count))
            let before = ran.count
            stage.remote.postFirst(.stopAccepting(within: .milliseconds(1_000)))
            #expect(stage.owner.take() == [])
            stage.turn()
            #expect(stage.owner.take() == [.acceptingStopped])
            #expect(ran.count > before && ran.count <= before + 256)
            #expect(stage.lastWait == 0, "what is left does not wait for anything")
            for _ in 0..<6 { stage.turn() }
            #expect(ran.count == 1_000)
        }
    }

    @Test("a connection that is handed over counts for sixteen messages")
    func adoptionBudget() throws {
        try withStage { stage in
            for _ in 0..<40 {
                stage.owner.connectionAdded()
                let stream = try stage.makeStream()
                #expect(stage.remote.adopt(stream, listener: 0, host: nil))
            }
            stage.turn()
            #expect((1...16).contains(stage.remote.counters.open))
            for _ in 0..<3 { stage.turn() }
            #expect(stage.remote.counters.open == 40)
        }
    }

    @Test("a loop that is drained but for what is handed over is not drained")
    func drainedButForAdoptions() throws {
        try withStage { stage in
            // More than one turn's messages in front: the loop has no connection yet.
            for _ in 0..<300 { #expect(stage.remote.run { _ in }) }
            for _ in 0..<20 {
                stage.owner.connectionAdded()
                let stream = try stage.makeStream()
                #expect(stage.remote.adopt(stream, listener: 0, host: nil))
            }
            stage.remote.postFirst(.stopAccepting(within: .milliseconds(1_000)))
            stage.remote.postFirst(.drain(within: .milliseconds(1_000)))
            stage.turn()
            #expect(stage.remote.counters.opened.current == 0)
            #expect(stage.owner.take() == [.acceptingStopped])
            for _ in 0..<3 { stage.turn() }
            #expect(stage.remote.counters.opened.current == 20)
        }
    }
}

// Unchecked: a stage has one thread.
private final class Runs: @unchecked Sendable {
    private(set) var count = 0

    func add() { count += 1 }

    /// The marks count bytes, and a chunk for each reply would hold 6,000 times as much.
    @Test("replies that need little of what they reserve share their memory", arguments: [0, 10])
    func reservedAndUnused(used: Int) throws {
        try withStage { stage in
            let token = try stage.open()
            stage.write([1], to: token)
            stage.delegate.onTraffic = { loop, connection, _ in
                for capacity in [65_536, 1_000_000] {
                    guard let room = loop.reserve(connection, capacity) else { continue }
                    room.copyBytes(from: [UInt8](repeating: 7, count: used))
                    loop.commit(connection, used)
                }
            }
            for _ in 0..<200 { stage.turn((token, .received([1]))) }
            #expect(stage.loop.chunks.inUse <= 2, "\(stage.loop.chunks.inUse) chunks")
            var sent = 0
            var requests = stage.turn((token, .sent(1)))
            while case .send(let bytes, _) = requests.first {
                sent += bytes.count
                requests = stage.turn((token, .sent(bytes.count)))
            }
            #expect(sent == 400 * used)
        }
    }
}
