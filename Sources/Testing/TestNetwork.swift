internal import MillraceEventLoop
internal import MillraceSimulation
public import NetAPI

/// A network without a kernel, without threads and with a clock of its own, for the servers and the
/// peers of a test.
///
/// Nothing happens by itself. Each step of a test, such as a peer's `send`, runs everything that it
/// causes before it returns. Time stands still unless a test advances it; only faults let some
/// milliseconds pass. The seed and the test's steps determine everything else.
///
/// Use it, and all that belongs to it, in one task or on one thread at a time. Its servers end with
/// it.
public final class TestNetwork {
    /// The time at which offloaded work runs (`Connection.offload`). It runs on the test's thread.
    public enum Offloads: Sendable {
        /// At once; with `Faults.delays`, after some milliseconds.
        case atOnce
        /// When this much time has passed.
        case taking(Duration)
        /// When the test calls `runOffload`.
        case held
    }

    /// The seed of the network.
    public let seed: TestSeed
    /// The kinds of faults that may occur.
    public let faults: Faults
    let engine: Engine
    private var upstreams: [TestUpstream] = []

    /// Creates a network. Without faults every seed gives the same run.
    public init(seed: TestSeed = 1, faults: Faults = []) {
        self.seed = seed
        self.faults = faults
        engine = Engine(seed: seed.number, faults)
    }

    /// Actions that never became due may hold peers, which hold the engine.
    deinit { engine.dropScript() }

    // MARK: Time

    /// The time since the network was made.
    public var now: Duration { .nanoseconds(engine.now) }

    /// Runs everything that the earlier steps cause, and closures that other threads or tasks have
    /// submitted meanwhile. Each step of a test ends with it. Timers wait for their time.
    public func settle() { engine.settle() }

    /// Moves the clock by `time`. Timers, ticks, time-outs and everything else run in the order of
    /// their times. The clock ends after 73 years.
    public func advance(by time: Duration) {
        // Not beyond: the loops add durations to this time.
        let end = min(engine.simulated.now.adding(max(.zero, time)), .longest)
        engine.advance(to: max(engine.simulated.now, end))
    }

    /// Runs until `isDone`, while tasks or threads of the handler work in real time: for a handler
    /// that answers from a `Task`. Returns false after `patience`, which is real time too. The
    /// clock of the network stands still meanwhile.
    public nonisolated(nonsending) func settle(
        until isDone: () -> Bool, patience: Duration = .seconds(10)
    ) async -> Bool {
        // The longest durations cannot be added to a clock's time.
        let end = ContinuousClock.now + min(patience, .nanoseconds(Int64.max))
        while true {
            settle()
            if isDone() { return true }
            if ContinuousClock.now >= end { return false }
            try? await Task.sleep(for: .milliseconds(1))
        }
    }

    /// Runs `body`, whose steps happen in one moment: no server runs before its end. So two peers
    /// can send at once, or bytes arrive with the end of their stream.
    @discardableResult
    public func together<Value>(_ body: () throws -> Value) rethrows -> Value {
        try engine.together(body)
    }

    /// Runs `action` when the clock has moved by `delay`.
    public func after(_ delay: Duration, _ action: @escaping () -> Void) {
        engine.schedule(after: Nanoseconds(delay), action)
    }

    // MARK: Log and problems

    /// The events so far, with their times: the peers' steps and the handler's callbacks. The same
    /// for each run of the same seed. At most 20,000 lines.
    public var log: [String] { engine.log }

    /// Whether the log is kept; true at first.
    public var keepsLog: Bool {
        get { engine.keepsLog }
        set { engine.keepsLog = newValue }
    }

    /// Adds a line to the log.
    public func note(_ line: String) { engine.note(line) }

    /// Faults that the network noticed, such as a handler that keeps its loop busy for ever.
    public var problems: [String] { engine.problems }

    /// Throws the problems, if there are any.
    public func checkProblems() throws(TestFailure) {
        if !problems.isEmpty { throw TestFailure(problems.joined(separator: "; ")) }
    }

    /// Throws a `TestFailure` with the seed unless `condition` holds.
    public func require(
        _ condition: @autoclosure () throws -> Bool, _ message: @autoclosure () -> String = "",
        file: StaticString = #fileID, line: UInt = #line
    ) throws {
        guard try !condition() else { return }
        throw TestFailure("\(file):\(line): a requirement does not hold, \(seed). \(message())")
    }

    // MARK: Chance

    /// Draws a number from the seed.
    public func random(in range: ClosedRange<Int>) -> Int { engine.random.within(range) }

    /// Draws one of `choices`, which has at least one element, from the seed.
    public func pick<Element>(_ choices: [Element]) -> Element { engine.random.pick(choices) }

    /// Draws a cut of `bytes` into at most `pieces` pieces from the seed.
    public func randomCut(of bytes: TestBytes, atMost pieces: Int = 8) -> Cut {
        guard bytes.count > 1, pieces > 1 else { return Cut([bytes]) }
        let count = random(in: 1...pieces) - 1
        let places = Set((0..<count).map { _ in random(in: 1...bytes.count - 1) })
        return Cut(bytes, at: places.sorted())
    }

    // MARK: Offloaded work

    /// The time at which offloaded work runs.
    public var offloads: Offloads {
        get { engine.offloads }
        set {
            engine.offloads = newValue
            settle()
        }
    }

    /// Runs the next offloaded job at once. Returns false if none waits.
    @discardableResult
    public func runOffload() -> Bool { engine.runHeldJob() }

    /// Stops a client of this network and advances the clock until it has ended. `Client.stop`
    /// would wait for loops that only this network turns. Without a call it ends with the network.
    public func stop(_ client: Client, within limit: Duration = .seconds(10)) {
        guard let host = engine.hosts.first(where: { $0.server === client.core }) else { return }
        client.core.requestStop(within: limit)
        let end = engine.simulated.now.adding(limit).adding(.seconds(3600))
        if !engine.run(until: end, { host.hasEnded }) {
            engine.noteProblem("a client has not ended after its stop")
        }
    }

    // MARK: Others on the network

    /// The most sockets that all servers and clients may have open, with their listeners. Further
    /// ones fail with EMFILE.
    public var socketLimit: Int {
        get { engine.simulated.descriptorLimit }
        set { engine.simulated.descriptorLimit = newValue }
    }

    /// Returns the scripted server at this address, to which handlers connect. Connects to an
    /// address without one fail with ECONNREFUSED.
    public func upstream(
        at address: Address, _ behaviour: TestUpstream.Behaviour = .accepts
    ) throws(TestFailure) -> TestUpstream {
        guard let place = address.socketAddress, !address.isDatagram, !address.isSecured else {
            throw TestFailure("\(address) is no address of a TCP or Unix server")
        }
        let upstream =
            upstreams.first { $0.core.address == place }
            ?? TestUpstream(engine.simulated.upstream(at: place), engine)
        if !upstreams.contains(where: { $0 === upstream }) { upstreams.append(upstream) }
        upstream.behaviour = behaviour
        return upstream
    }

    /// Creates a client whose connections are in this network, and starts it. Pass it to a handler
    /// that has a client. Throws the errors of `Client.init` and `start`.
    public func client(
        _ handler: some EventHandler & Sendable, options: Options = Options()
    ) throws(NetError) -> Client {
        try client(handler, options, isForTasks: false)
    }

    /// Creates a client for `withConnection`, whose connections are in this network, and starts it.
    /// Throws the errors of `Client.init` and `start`.
    public func client(options: Options = Options()) throws(NetError) -> Client {
        try client(TaskHandler(body: nil), options.forTasks, isForTasks: true)
    }

    private func client(
        _ handler: some EventHandler & Sendable, _ options: Options, isForTasks: Bool
    ) throws(NetError) -> Client {
        let record = engine.makeRecord("client")
        var client: Client?
        _ = try engine.add { backend throws(NetError) in
            let made = try Client(
                Observed(handler, record), options, on: backend, isForTasks: isForTasks)
            client = made
            return made.core
        }
        guard let client else { preconditionFailure("a host without its client") }
        return client
    }
}
