import Glibc
import MillraceEventLoop
import MillraceSimulation
import NetAPI
import Testing

/// Tasks of connections that break: what had come before is read, within bounds.
@Suite struct TaskBrokenTests {
    private let reset = QueuedEvent.failed(.receive, SystemError(ECONNRESET, "recv"))
    private let brokenSend = QueuedEvent.failed(.send, SystemError(EPIPE, "send"))

    private static func some(_ count: Int) -> [UInt8] { [UInt8](repeating: 7, count: count) }

    /// Reads a byte, waits for the test, and reads the rest in pieces of at most `most` bytes.
    private static func reading(_ most: Int) -> TaskStage.Serve {
        { connection, notes in
            _ = try await connection.read(exactly: 1) { _ in }
            await notes.wait()
            await notes.note {
                while true {
                    let count = try await connection.read(exactly: most) { $0.byteCount }
                    guard let count else { return "end" }
                    notes.note("\(count)")
                }
            }
        }
    }

    @Test("a reset leaves a task that works the bytes that came before it", arguments: [1, 2, 4])
    func readAfterReset(_ pieces: Int) throws {
        try withTaskStage(serve: Self.reading(5_000 / pieces)) { stage in
            let token = try stage.open()
            #expect(stage.turn((token, .received([0]))) == [])
            #expect(stage.turn((token, .received(Self.some(5_000)))) == [])
            #expect(stage.turn((token, reset)) == [])
            #expect(stage.turn() == [])
            let requests = stage.release()
            let counts = Array(repeating: "\(5_000 / pieces)", count: pieces)
            #expect(requests + stage.turn() == [.close(token)])
            #expect(stage.notes.take() == counts + ["system"])
        }
    }

    @Test("a reset closes at once behind a task that has read everything, or waits for more")
    func nothingUnread() throws {
        try withTaskStage(serve: Self.reading(10)) { stage in
            let working = try stage.open()
            #expect(stage.turn((working, .received([0]))) == [])
            #expect(stage.turn((working, reset)) == [.close(working)])
            let waiting = try stage.open()
            #expect(stage.turn((waiting, .received([0]))) == [])
            stage.release()
            #expect(stage.notes.take() == ["system"])
            #expect(stage.turn((waiting, .received([1, 2]))) == [])
            #expect(stage.turn((waiting, reset)) == [.close(waiting)])
            #expect(stage.notes.take() == ["system"])
        }
    }

    @Test("a task that never reads what came before a reset has its limit")
    func neverRead() throws {
        try withTaskStage(serve: Self.reading(10)) { stage in
            let token = try stage.open()
            stage.turn((token, .received([0])), (token, .received([1])), (token, reset))
            let limit = Nanoseconds(stage.server.options.timeouts.close)
            #expect(stage.turn(after: limit - 1) == [])
            let late =
                stage.turn(after: 1) + stage.turn() + stage.turn(after: .milliseconds(1))
            #expect(late + stage.turn() == [.close(token)])
        }
    }

    @Test("a broken connection holds no more unread bytes for its task than the limit")
    func unreadBound() throws {
        let options = Options().with { $0.limits.inboundBytes = 100_000 }
        try withTaskStage(options) { connection, notes in
            _ = try await connection.read()
            try await connection.write([1])
            await notes.wait()
        } _: { stage in
            let token = try stage.open()
            #expect(stage.turn((token, .received([0]))) == [.send([1], token)])
            #expect(stage.turn((token, brokenSend)) == [])
            #expect(stage.turn((token, .received(Self.some(60_000)))) == [])
            #expect(stage.turn((token, .received(Self.some(60_000)))) == [.close(token)])
        }
    }

    @Test("a task that waits for room gets the error of its connection at once")
    func drainedOfBroken() throws {
        try withTaskStage { connection, notes in
            _ = try await connection.read()
            connection.gather(Self.some(300_000))
            await notes.note {
                try await connection.drained()
                return "drained"
            }
            await notes.note {
                try await connection.write([1])
                return "written"
            }
            await notes.note { "\(try await connection.read()?.count ?? 0)" }
        } _: { stage in
            let token = try stage.open()
            stage.turn((token, .received([0])))
            #expect(stage.notes.take() == [])
            // The stream that is being stopped brings some more.
            #expect(stage.turn((token, .received([1, 2])), (token, brokenSend)) == [.close(token)])
            #expect(stage.notes.take() == ["system", "system", "2"])
        }
    }

    @Test("a task that does not read holds its peer back, whatever else resumes reading")
    func resumedByOthers() throws {
        try withTaskStage(serve: Self.reading(10)) { stage in
            let token = try stage.open()
            stage.turn((token, .received([0])))
            #expect(stage.turn((token, .received(Self.some(70_000)))) == [.stop(.receive, token)])
            #expect(stage.turn((token, .stopped(.receive))) == [.watch(token)])
            for _ in 1...3 {
                #expect(stage.turn(token) { $0.resumeReading($1) } == [.receive(token)])
                #expect(stage.turn((token, .received([1]))) == [.stop(.receive, token)])
                #expect(stage.turn((token, .stopped(.receive))) == [.watch(token)])
            }
        }
    }
}
