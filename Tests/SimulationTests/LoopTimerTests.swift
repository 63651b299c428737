import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// The times at which a loop's timers run, to the nanosecond, and the cost of many timers.
@Suite struct LoopTimerTests {
    private func repeating(
        _ stage: Stage, every period: Nanoseconds, _ fired: Monitor<[Nanoseconds]>
    ) -> Nanoseconds {
        stage.turn(
            message: .run { loop in
                _ = loop.schedule(after: period, every: period) { [unowned loop] in
                    fired.withLock { $0.append(loop.now) }
                }
            })
        return stage.driver.now
    }

    @Test("a period is counted from when the last one was due, not from when it ran")
    func lateness() throws {
        try withStage { stage in
            let fired = Monitor<[Nanoseconds]>([])
            let start = repeating(stage, every: .milliseconds(10), fired)
            // Three milliseconds late, each time.
            for round in 1...50 as ClosedRange<Nanoseconds> {
                stage.turn(
                    after: start + .milliseconds(10 * round) + .milliseconds(3) - stage.driver.now)
                stage.turn()
                #expect(stage.lastWait == .milliseconds(7))
            }
            #expect(fired.withLock { $0.count } == 50)
            #expect(fired.withLock { $0.last } == start + .milliseconds(503))
        }
    }

    @Test("a loop that was held up runs a repeating timer once for all that it has missed")
    func missed() throws {
        try withStage { stage in
            let fired = Monitor<[Nanoseconds]>([])
            _ = repeating(stage, every: .milliseconds(10), fired)
            stage.turn(after: .milliseconds(75))
            stage.turn()
            #expect(stage.lastWait == .milliseconds(5))
            stage.turn(after: .milliseconds(5))
            stage.turn()
            #expect(stage.lastWait == .milliseconds(10))
            #expect(fired.withLock { $0.count } == 2)
        }
    }

    @Test("a connection's timers run while its last bytes go out, and end before it is told")
    func closedWhileSending() throws {
        try withStage { stage in
            let token = try stage.open()
            let fired = Monitor(0)
            stage.turn(token) { loop, connection in
                for delay in [1, 10] as [Nanoseconds] {
                    _ = loop.schedule(after: .milliseconds(delay), for: connection) {
                        fired.withLock { $0 += 1 }
                    }
                }
                loop.write(connection, [1, 2, 3])
                loop.close(connection, .local)
            }
            stage.turn(after: .milliseconds(5))
            stage.turn((token, .sent(3)))
            #expect(stage.delegate.take(token) == [.closed("local")])
            stage.turn(after: .milliseconds(10))
            stage.turn()
            #expect(fired.withLock { $0 } == 1)
        }
    }

    @Test("the longest delays and periods are as good as never")
    func centuries() throws {
        try withStage { stage in
            let fired = Monitor<[Nanoseconds]>([])
            _ = repeating(stage, every: Nanoseconds(.seconds(Int64.max)), fired)
            stage.turn()
            #expect(stage.lastWait == Nanoseconds(.seconds(Int64.max)))
            stage.turn(after: Nanoseconds(.seconds(Int64.max)) + 1)
            stage.turn()
            #expect(fired.withLock { $0.count } == 1)
        }
    }

    @Test("a connection's timers cost no more each when there are many of them")
    func many() throws {
        /// The processor time of this thread, which does not count the pauses of a busy machine.
        func processorTime(of count: Int) throws -> Double {
            var (begin, end) = (timespec(), timespec())
            try withStage { stage in
                let token = try stage.open()
                clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin)
                stage.turn(token) { loop, connection in
                    for _ in 0..<count {
                        _ = loop.schedule(after: .milliseconds(1000), for: connection) {}
                    }
                }
                clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end)
            }
            return Double(end.tv_sec - begin.tv_sec)
                + Double(end.tv_nsec - begin.tv_nsec) / 1_000_000_000
        }
        // When each timer checked all others, ten times as many took a hundred times as long.
        let few = try (0..<5).map { _ in try processorTime(of: 2_000) }.min() ?? 0
        let many = try (0..<5).map { _ in try processorTime(of: 20_000) }.min() ?? 0
        #expect(many < 30 * few, "2,000: \(few) s, 20,000: \(many) s")
    }

    @Test("however short a time-out is, its deadline is looked at every millisecond at most")
    func shortTimeout() throws {
        var configuration = LoopConfiguration()
        configuration.writeTimeout = 1000
        try withStage(configuration) { stage in
            _ = try stage.open()
            for _ in 0..<3 {
                stage.turn()
                #expect(stage.lastWait == .milliseconds(1))
                stage.turn(after: .milliseconds(1))
            }
        }
    }
}
