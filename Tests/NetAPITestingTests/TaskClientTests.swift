/// Tests of what reaches a client's connection before its caller has it.
import NetAPI
import NetAPITesting
import Synchronization
import Testing

@Suite struct TaskClientTests {
    /// Runs its jobs when the test asks for it, so that the test decides when the caller goes on.
    private final class Caller: TaskExecutor {
        private let jobs = Mutex<[UnownedJob]>([])

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            jobs.withLock { $0.append(job) }
        }

        /// Runs until no job is left, if there was one.
        func run() -> Bool {
            var hasRun = false
            while true {
                let job = jobs.withLock { $0.isEmpty ? nil : $0.removeFirst() }
                guard let job else { return hasRun }
                job.runSynchronously(on: asUnownedTaskExecutor())
                hasRun = true
            }
        }
    }

    /// The result of reading everything, and the bytes before it.
    private struct Outcome: Equatable {
        var count = 0
        var end = ""
    }

    /// Connects to a peer, and lets `body` act before the caller has the connection.
    private func with(
        resuming: Bool, _ body: @escaping (TestPeer) -> Void
    ) async throws -> Outcome {
        let network = TestNetwork()
        let upstream = try network.upstream(at: "tcp://192.0.2.1:80")
        let client = try network.client()
        let caller = Caller()
        let outcome = Mutex(Outcome())
        let talk = Task(executorPreference: caller) {
            try await client.withConnection(to: "tcp://192.0.2.1:80") { connection in
                do {
                    while let bytes = try await connection.read() {
                        outcome.withLock { $0.count += bytes.count }
                    }
                    outcome.withLock { $0.end = "end" }
                } catch let error as NetError {
                    outcome.withLock { $0.end = "\(error.code)" }
                }
            }
        }
        // The caller asks for the connection, and waits.
        let hasAsked = await network.settle(until: { caller.run() })
        try network.require(hasAsked)
        let isConnected = await network.settle(until: { upstream.peers.count == 1 })
        try network.require(isConnected)
        body(upstream.peers[0])
        if resuming {
            // A call from elsewhere, which does not know the caller.
            let handle = try #require(upstream.peers[0].handle)
            #expect(handle.execute { $0.resumeReading() })
            network.settle()
            #expect(client.statistics.bytesIn <= 400_000)
        }
        let isOver = await network.settle(until: {
            _ = caller.run()
            return outcome.withLock { $0.end != "" }
        })
        #expect(isOver)
        if isOver { _ = await talk.result }
        return outcome.withLock { $0 }
    }

    @Test("the caller reads the bytes and the end that came before it", arguments: [false, true])
    func end(_ resuming: Bool) async throws {
        for count in [0, 6, 3_000_000] {
            let outcome = try await with(resuming: resuming) { peer in
                peer.send(TestBytes([UInt8](repeating: 7, count: count)))
                peer.finish()
            }
            #expect(outcome == Outcome(count: count, end: "end"))
        }
    }

    @Test("the caller reads the bytes that came before a reset", arguments: [false, true])
    func reset(_ resuming: Bool) async throws {
        for count in [6, 20_000] {
            let outcome = try await with(resuming: resuming) { peer in
                peer.send(TestBytes([UInt8](repeating: 7, count: count)))
                peer.reset()
            }
            #expect(outcome == Outcome(count: count, end: "system"))
        }
    }
}
