import Glibc
import MillraceEventLoop
import MillraceSimulation
import NetAPI
import Testing

/// The end of a task's input: nil only for the whole stream of the peer.
@Suite struct TaskEndTests {
    private static let line = Array("hello\n".utf8)

    /// Reads everything in pieces, and notes them and the end.
    private static let pieces: TaskStage.Serve = { connection, notes in
        await notes.note {
            while let bytes = try await connection.read() { notes.note("\(bytes.count)") }
            // Once more: the answer stays the same.
            return try await connection.read() == nil ? "end" : "bytes"
        }
    }

    @Test("a close of ours, a stop or a shutdown is no end of the peer's stream", arguments: 1...3)
    func closedByUs(_ way: Int) throws {
        try withTaskStage(serve: Self.pieces) { stage in
            let token = try stage.open()
            stage.turn((token, .received([1, 2])))
            switch way {
            case 1: stage.turn(token) { $0.close($1, .local) }
            case 2: stage.turn(token) { $0.close($1, .shutdown) }
            default: stage.stop()
            }
            stage.turn()
            #expect(stage.notes.take() == ["2", "closed"])
        }
    }

    @Test("a close behind the peer's end leaves the end as it is, once all is read")
    func closedBehindTheEnd() throws {
        let serve: TaskStage.Serve = { connection, notes in
            await notes.note { "\(try await connection.read()?.count ?? 0)" }
            await notes.wait()
            try await Self.pieces(connection, notes)
        }
        for unread in [[], [UInt8(1)]] {
            try withTaskStage(serve: serve) { stage in
                let token = try stage.open()
                stage.turn((token, .received([1, 2])))
                if !unread.isEmpty { stage.turn((token, .received(unread))) }
                stage.turn((token, .endOfStream))
                stage.turn(token) { $0.close($1, .local) }
                stage.turn()
                stage.release()
                #expect(stage.notes.take() == ["2", unread.isEmpty ? "end" : "closed"])
            }
        }
    }

    @Test("a close behind a cut of the wire leaves it a cut: the stream is not whole")
    func closedBehindACut() throws {
        let serve: TaskStage.Serve = { connection, notes in
            await notes.note { "\(try await connection.read()?.count ?? 0)" }
            await notes.wait()
            try await Self.pieces(connection, notes)
        }
        let filters = SimulatedFilters(seed: 1, plan: SimulatedFilters.Plan(), workers: nil)
        let options = Options().with { $0.acceptingFilters = filters }
        try withTaskStage(options, serve: serve) { stage in
            let token = try stage.open()
            var records = SimulatedRecords()
            stage.turn((token, .received(records.record(.hello))))
            stage.turn(
                (token, .received(records.record(.finished) + records.record(.data, [1, 2]))))
            stage.turn((token, .endOfStream))
            stage.turn(token) { $0.abort($1, .shutdown) }
            stage.turn()
            stage.release()
            #expect(stage.notes.take() == ["2", "closed"])
        }
    }

    @Test("lines and frames end at a close of ours, between two of them")
    func unitsEnd() throws {
        try withTaskStage { connection, notes in
            await notes.note {
                for try await line in connection.lines() { notes.note(line) }
                return "end"
            }
        } _: { stage in
            let token = try stage.open()
            stage.turn((token, .received(Self.line)))
            stage.turn(token) { $0.close($1, .shutdown) }
            stage.turn()
            #expect(stage.notes.take() == ["hello", "end"])
        }
    }

    // MARK: Behind a handshake

    private static let lines: TaskStage.Serve = { connection, notes in
        await notes.note {
            while let line = try await connection.readLine() { notes.note(line) }
            return "end"
        }
    }

    /// Serves with filters that compute each flight, and runs `body` with a connection whose first
    /// flight is answered.
    private func withComputation(
        serve: @escaping TaskStage.Serve = lines,
        _ body: (TaskStage, Token, WorkerPool, inout SimulatedRecords) throws -> Void
    ) throws {
        var plan = SimulatedFilters.Plan()
        plan.computations = .always
        let workers = WorkerPool(threads: 1, queued: 1, running: .whenAsked)
        let filters = SimulatedFilters(seed: 1, plan: plan, workers: workers)
        let options = Options().with { $0.acceptingFilters = filters }
        try withTaskStage(options, serve: serve) { stage in
            let token = try stage.open()
            var records = SimulatedRecords()
            let hello = records.record(.hello)
            #expect(stage.turn((token, .received(hello))) == [.stop(.receive, token)])
            #expect(stage.turn((token, .stopped(.receive))) == [])
            #expect(workers.runNext())
            let requests = stage.turn() + stage.turn()
            guard case .send(let bytes, token)? = requests.first, requests.count == 2 else {
                throw Stage.Unexpected(requests: requests)
            }
            #expect(requests.last == .receive(token))
            stage.turn((token, .sent(bytes.count)))
            try body(stage, token, workers, &records)
        }
        #expect(filters.violations == [])
    }

    /// The stop of the receive stream comes too late: the end was received already.
    @Test("bytes and an end that come while the last flight is computed are read in order")
    func endWhileComputing() throws {
        try withComputation { stage, token, workers, records in
            let last =
                records.record(.finished) + records.record(.data, Self.line) + records.record(.end)
            let requests = stage.turn((token, .received(last)), (token, .endOfStream))
            #expect(requests == [.stop(.receive, token)])
            #expect(stage.notes.take() == [])
            #expect(workers.runNext())
            stage.turn()
            stage.turn()
            #expect(stage.notes.take() == ["hello", "end"])
        }
    }

    @Test("bytes that come while the last flight is computed are read before the cut behind them")
    func cutWhileComputing() throws {
        try withComputation { stage, token, workers, records in
            let last = records.record(.finished) + records.record(.data, Self.line)
            stage.turn((token, .received(last)), (token, .endOfStream))
            #expect(workers.runNext())
            let requests = stage.turn() + stage.turn()
            guard case .send(let bytes, token)? = requests.last else {
                throw Stage.Unexpected(requests: requests)
            }
            // The end of our side is whole.
            stage.turn((token, .sent(bytes.count)))
            #expect(stage.notes.take() == ["hello", "insecure"])
        }
    }

    @Test(
        "a task that ends its side first reads the bytes and the end behind the last flight",
        arguments: [true, false])
    func endsFirst(isWhole: Bool) throws {
        let serve: TaskStage.Serve = { connection, notes in
            connection.finish()
            try await Self.lines(connection, notes)
        }
        try withComputation(serve: serve) { stage, token, workers, records in
            let last =
                records.record(.finished) + records.record(.data, Self.line)
                + (isWhole ? records.record(.end) : [])
            stage.turn((token, .received(last)), (token, .endOfStream))
            #expect(workers.runNext())
            for _ in 0..<4 {
                for case .send(let bytes, token) in stage.turn() {
                    stage.turn((token, .sent(bytes.count)))
                }
            }
            #expect(stage.notes.take() == ["hello", isWhole ? "end" : "insecure"])
        }
    }

    @Test("an upgrade's last flight, bytes and end in one piece are read in order")
    func endWhileUpgrading() throws {
        var plan = SimulatedFilters.Plan()
        plan.computations = .always
        let workers = WorkerPool(threads: 1, queued: 1, running: .whenAsked)
        let filters = SimulatedFilters(seed: 1, plan: plan, workers: workers)
        try withTaskStage { connection, notes in
            await notes.note { try await connection.readLine() ?? "none" }
            try await connection.upgrade { try $0.upgrade(accepting: filters, secured: $1) }
            try await Self.lines(connection, notes)
        } _: { stage in
            let token = try stage.open()
            stage.turn((token, .received(Self.line)))
            var records = SimulatedRecords()
            stage.turn((token, .received(records.record(.hello))), (token, .stopped(.receive)))
            #expect(workers.runNext())
            stage.turn()
            stage.turn()
            let last =
                records.record(.finished) + records.record(.data, Self.line) + records.record(.end)
            stage.turn((token, .received(last)), (token, .endOfStream))
            #expect(workers.runNext())
            stage.turn()
            stage.turn()
            #expect(stage.notes.take() == ["hello", "hello", "end"])
        }
        #expect(filters.violations == [])
    }
}
