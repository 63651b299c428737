import MillraceEventLoop
import MillraceSimulation
import NetAPI
import Testing

/// Limits of time for the waits of several tasks on one connection.
@Suite struct TaskLimitTests {
    private static let much = [UInt8](repeating: 7, count: 300_000)

    /// Notes the end of a wait, for a byte or for room, behind a limit in seconds.
    private static func wait(
        _ connection: AsyncConnection, _ notes: TaskNotes, seconds: Int, forRoom: Bool
    ) async {
        await notes.note {
            try await connection.withTimeout(.seconds(seconds)) {
                if forRoom {
                    try await connection.drained()
                } else {
                    _ = try await connection.read()
                }
            }
            return forRoom ? "room" : "bytes"
        }
    }

    /// One child task waits for input, another for room. The outer task has read a byte.
    private static func together(readSeconds: Int, roomSeconds: Int) -> TaskStage.Serve {
        { connection, notes in
            // Unchecked: the child tasks live on the connection's loop.
            nonisolated(unsafe) let connection = connection
            _ = try await connection.read()
            connection.gather(Self.much)
            await withTaskGroup { group in
                group.addTask {
                    await Self.wait(connection, notes, seconds: readSeconds, forRoom: false)
                }
                group.addTask {
                    await Self.wait(connection, notes, seconds: roomSeconds, forRoom: true)
                }
            }
        }
    }

    private func seconds(_ count: Nanoseconds) -> Nanoseconds { count * 1_000_000_000 }

    /// Runs the timers that are due after `time`.
    private func wait(_ time: Nanoseconds, _ stage: TaskStage) {
        stage.turn(after: time)
        stage.turn()
    }

    @Test("the limit of one task does not end the wait of another")
    func onlyItsOwn() throws {
        try withTaskStage(serve: Self.together(readSeconds: 5, roomSeconds: 1)) { stage in
            let token = try stage.open()
            stage.turn((token, .received([0])))
            wait(seconds(1), stage)
            #expect(stage.notes.take() == ["timedOut"])
            wait(seconds(3), stage)
            #expect(stage.notes.take() == [])
            wait(seconds(1), stage)
            #expect(stage.notes.take() == ["timedOut"])
        }
    }

    @Test("the limit of one task is kept although another's began before it and is over")
    func keptBehindOther() throws {
        try withTaskStage(serve: Self.together(readSeconds: 5, roomSeconds: 2)) { stage in
            let token = try stage.open()
            stage.turn((token, .received([0])))
            wait(seconds(1), stage)
            stage.turn(token) { loop, connection in
                loop.setReadsAhead(connection, true)
            }
            stage.turn((token, .stopped(.receive)))
            stage.turn((token, .received([1])))
            #expect(stage.notes.take() == ["bytes"])
            wait(seconds(1), stage)
            #expect(stage.notes.take() == ["timedOut"])
        }
    }

    @Test("a limit around child tasks ends their waits, and the outer one of two is kept too")
    func aroundChildren() throws {
        try withTaskStage { connection, notes in
            // Unchecked: the child tasks live on the connection's loop.
            nonisolated(unsafe) let connection = connection
            await notes.note {
                try await connection.withTimeout(.seconds(2)) {
                    await withTaskGroup { group in
                        group.addTask {
                            await Self.wait(connection, notes, seconds: 1, forRoom: false)
                            await Self.wait(connection, notes, seconds: 9, forRoom: false)
                        }
                    }
                    return "\(try await connection.read()?.count ?? 0)"
                }
            }
            await notes.note { "\(try await connection.read()?.count ?? 0) bytes" }
        } _: { stage in
            let token = try stage.open()
            wait(seconds(1), stage)
            #expect(stage.notes.take() == ["timedOut"])
            wait(seconds(1), stage)
            #expect(stage.notes.take() == ["timedOut", "timedOut"])
            stage.turn((token, .received([1, 2, 3])))
            #expect(stage.notes.take() == ["3 bytes"])
        }
    }

    @Test("a limit may begin in the body of a group that gets further tasks under it")
    func withinGroup() throws {
        try withTaskStage { connection, notes in
            // Unchecked: the child tasks live on the connection's loop.
            nonisolated(unsafe) let connection = connection
            await withTaskGroup { group in
                await notes.note {
                    try await connection.withTimeout(.seconds(1)) {
                        group.addTask {
                            await notes.note { "\(try await connection.read()?.count ?? 0)" }
                        }
                        await group.next()
                        return "next"
                    }
                }
            }
        } _: { stage in
            _ = try stage.open()
            wait(seconds(1), stage)
            #expect(stage.notes.take() == ["timedOut", "next"])
        }
    }
}
