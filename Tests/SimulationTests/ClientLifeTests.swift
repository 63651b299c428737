import Glibc
import MillraceSimulation
import NetAPI
import Testing

@testable import MillraceEventLoop

/// A client whose loops run on threads of their own, over drivers that a script answers: stops at
/// unusual moments, and connects that find no running loop.
@Suite struct ClientLifeTests {
    private struct Refusal: Error {}

    private struct Handler: EventHandler {
        let boot: @Sendable (NetAPI.Loop) throws -> Void

        func onBoot(_ loop: NetAPI.Loop) throws -> Action {
            try boot(loop)
            return .none
        }

        func onTraffic(_ connection: Connection) -> Action { .close }
    }

    /// Makes a client and runs `boot` in its handler's `onBoot`.
    private static func client(
        loops: Int = 1, boot: @escaping @Sendable (Client, NetAPI.Loop) throws -> Void = { _, _ in }
    ) throws -> Client {
        let itself = Monitor<Client?>(nil)
        let handler = Handler { loop in
            // Empty afterwards, so that the client is not kept.
            let client = itself.withLock { known -> Client? in
                defer { known = nil }
                return known
            }
            if let client { try boot(client, loop) }
        }
        let backend = SimulatedBackend(
            sockets: SimulatedSockets(network: SimulatedNetwork(seed: 1))
        ) { () throws(SystemError) in ScriptedDriver() }
        let client = try Client(handler, Options(loops: .count(loops)), on: backend)
        itself.withLock { $0 = client }
        return client
    }

    private func code(_ body: () throws -> Void) -> NetError.Code? {
        do {
            try body()
            return nil
        } catch {
            return (error as? NetError)?.code
        }
    }

    /// Starts the client on a thread of its own. Returns nil if the start does not return.
    private func start(_ client: Client) throws -> Result<Void, any Error>? {
        let result = Monitor<Result<Void, any Error>?>(nil)
        let hasReturned = try returns {
            let outcome = Result { try client.start() }
            result.withLock { $0 = outcome }
        }
        return hasReturned ? result.withLock { $0 } : nil
    }

    // MARK: Stops

    @Test(
        "stop and run in onBoot do not wait for the loops, and the client ends", arguments: [1, 2])
    func stopInOnBoot(loops: Int) throws {
        let codes = Monitor<[NetError.Code?]>([])
        let client = try Self.client(loops: loops) { client, _ in
            let code = self.code { try client.core.run() }
            client.stop()
            codes.withLock { $0.append(code) }
        }
        let started = try #require(try start(client), "the start does not return")
        #expect(throws: Never.self) { try started.get() }
        // Without another request to stop.
        let group = try #require(client.core.group)
        let hasEnded = try returns { _ = group.waitUntilEnded() }
        #expect(hasEnded)
        #expect(codes.withLock { $0 } == [.unsupported])
    }

    @Test("a stop before the start is kept: the client never runs")
    func stopBeforeTheStart() throws {
        let client = try Self.client()
        client.core.requestStop()
        #expect(code { try client.start() } == .closed)
        #expect(client.core.group == nil)
        let reason = try client.core.run()
        guard case .stopped = reason else {
            Issue.record("it ended with \(reason)")
            return
        }
    }

    @Test("a stop that waits for a start returns when the start fails")
    func stopBesideAFailingStart() throws {
        let hasStopped = Monitor(false)
        let client = try Self.client { client, _ in
            try LoopThread(name: "test") {
                client.stop()
                hasStopped.update { $0 = true }
            }.detach()
            let group = client.core.group
            while group?.stopCause == nil {}
            throw Refusal()
        }
        let started = try #require(try start(client), "the start does not return")
        #expect(throws: NetError.self) { try started.get() }
        let end = MonotonicClock.now + 10_000_000_000
        #expect(hasStopped.wait(until: end) { $0 ? true : nil } == true)
    }

    /// Waits until a group has been asked to stop within this time.
    private static func awaitStop(_ group: LoopGroup?, within limit: Nanoseconds) throws {
        let end = MonotonicClock.now + 10_000_000_000
        while group?.state.withLock({ $0.stop?.within }) != limit {
            try #require(MonotonicClock.now < end, "no stop within \(limit) ns is requested")
            usleep(1_000)
        }
    }

    /// The signals are for the whole process, so the test runs in another one.
    @Test("the second signal ends the drain that the first one began")
    func secondSignal() async {
        await #expect(processExitsWith: .success) {
            let (isReached, isFree) = (Monitor(false), Monitor(false))
            let client = try ClientLifeTests.client { _, loop in
                // Nothing ends while it waits.
                loop.schedule(after: .zero) {
                    isReached.update { $0 = true }
                    isFree.wait { $0 ? () : nil }
                }
            }
            let reason = Monitor<StopReason?>(nil)
            try LoopThread(name: "run") {
                let result = try? client.core.run(stoppingOn: .hangup)
                reason.update { $0 = result }
            }.detach()
            isReached.wait { $0 ? () : nil }
            let group = client.core.group
            kill(getpid(), SIGHUP)
            try ClientLifeTests.awaitStop(group, within: 10_000_000_000)
            kill(getpid(), SIGHUP)
            try ClientLifeTests.awaitStop(group, within: 0)
            isFree.update { $0 = true }
            let end = MonotonicClock.now + 10_000_000_000
            guard case .signal(.hangup)? = reason.wait(until: end, for: { $0 }) else {
                Issue.record("run has not returned")
                return
            }
        }
    }

    // MARK: Streams made elsewhere

    /// In the simulated network the number of a real file is no socket's, as if that had been
    /// closed and its number were another file's.
    @Test("a number that is not open is refused and not closed")
    func adoptsWhatIsNotOpen() throws {
        let client = try Self.client()
        try client.start()
        defer { client.stop() }
        let number = dup(2)
        defer { close(number) }
        let code = Monitor<NetError.Code?>(nil)
        client.adopt(number) { error in code.update { $0 = error.code } }
        let found = code.wait(until: MonotonicClock.now + 10_000_000_000) { $0 }
        #expect(found == .unsupported)
        #expect(fcntl(number, F_GETFD) >= 0)
    }

    // MARK: Connects

    private static let places: [Address] = ["tcp://127.0.0.1:1", "howdy", "unix:///nowhere"]

    /// The connects begin on the loop, or another thread has posted them to it.
    @Test(
        "each connect of a client whose start fails is reported once",
        arguments: [1, 2], [true, false])
    func connectsBesideAFailingStart(loops: Int, arePosted: Bool) throws {
        let told = Monitor([Int](repeating: 0, count: 6))
        let tell: @Sendable (Int) -> Void = { number in told.withLock { $0[number] += 1 } }
        let client = try Self.client(loops: loops) { client, loop in
            for (number, place) in Self.places.enumerated() {
                if arePosted {
                    client.connect(to: place) { _ in tell(number) }
                } else {
                    loop.connect(to: place) { _ in tell(number) }
                }
            }
            throw Refusal()
        }
        let started = try #require(try start(client), "the start does not return")
        #expect(throws: NetError.self) { try started.get() }
        for (number, place) in Self.places.enumerated() {
            client.connect(to: place) { _ in tell(3 + number) }
        }
        #expect(told.withLock { $0 } == [Int](repeating: 1, count: 6))
    }
}
