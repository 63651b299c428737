import Glibc
import MillraceEventLoop
import MillraceSimulation
import NetAPI
import Testing

/// A server with a task for each connection. Its one loop runs over a driver that reports the
/// completions that the test passes in. Time stands still unless a turn has a delay.
final class TaskStage {
    typealias Request = ScriptedDriver.Request
    typealias Serve = @Sendable (AsyncConnection, TaskNotes) async throws -> Void

    let notes = TaskNotes()
    private let driver: ScriptedDriver
    private let network = SimulatedNetwork(seed: 1)
    private let sockets: SimulatedSockets
    let server: Server
    private let loop: SteppedLoop
    private let listener: (descriptor: Descriptor, token: Token)

    init(_ options: Options, serve: @escaping Serve) throws {
        // Unchecked: a stage has one thread.
        nonisolated(unsafe) let driver = ScriptedDriver()
        sockets = SimulatedSockets(network: network)
        let backend = SimulatedBackend(sockets: sockets) { driver }
        let address: Address =
            options.acceptingFilters == nil ? "tcp://127.0.0.1:0" : "tls://127.0.0.1:0"
        let options = options.with { $0.loops = .count(1) }.forTasks
        server = try Server([address], options, handler: TaskHandler.self, backend: backend) {
            [notes] _ in (TaskHandler { try await serve($0, notes) }, true)
        }
        loop = try #require(try server.startStepped().first)
        loop.turn()
        let requests = driver.takeRequests()
        guard case .attach(let descriptor, let token) = requests.first else {
            throw Stage.Unexpected(requests: requests)
        }
        self.driver = driver
        listener = (descriptor, token)
    }

    /// Accepts a connection, whose task begins.
    func open() throws -> Token {
        let port = try #require(server.boundAddresses.first?.port)
        let address = try #require(SocketAddress(host: "127.0.0.1", port: port))
        _ = network.connect(to: address)
        network.runDue()
        let stream = try #require(try sockets.acceptWaiting(on: listener.descriptor))
        let requests = turn((listener.token, .accepted(stream.descriptor)))
        guard case .attach(stream.descriptor, let token) = requests.first else {
            throw Stage.Unexpected(requests: requests)
        }
        #expect(requests.last == .receive(token))
        return token
    }

    /// Runs one turn. During its wait the clock moves on by `delay`, and the driver gets
    /// `completions`. Returns the loop's requests to the driver.
    @discardableResult
    func turn(
        after delay: Nanoseconds = 0, _ completions: (Token, QueuedEvent)...
    ) -> [Request] {
        _ = driver.takeRequests()
        driver.now += delay
        driver.script(completions)
        loop.turn()
        return driver.takeRequests()
    }

    /// Runs a turn that begins with a program's action on one connection from outside its task.
    @discardableResult
    func turn(
        _ token: Token,
        does body: @escaping @Sendable (MillraceEventLoop.Loop, ConnectionReference) -> Void
    ) -> [Request] {
        loop.loop.remote.run { loop in
            let connection = loop.find(token)
            #expect(connection != nil)
            if let connection { body(loop, connection) }
        }
        return turn()
    }

    /// Runs a turn in which the tasks that wait in `notes` go on.
    @discardableResult
    func release() -> [Request] {
        notes.release()
        return turn()
    }

    /// Begins a stop, up to its drain, and lets the connections be silent for long enough.
    func stop() {
        server.requestStop(within: .seconds(10))
        #expect(turn() == [.stop(.accept, listener.token)])
        #expect(turn((listener.token, .stopped(.accept))) == [.close(listener.token)])
        turn((listener.token, .closed))
        for _ in 0..<10 { turn(after: .milliseconds(30)) }
    }

    /// Ends everything, like after a driver's failure.
    func finish() {
        release()
        driver.waitError = SystemError(EIO, "wait")
        loop.turn()
        #expect(loop.hasEnded && driver.isShutDown)
        #expect(driver.violations == [])
        #expect(network.violations == [])
        #expect(loop.loop.chunks.inUse == 0)
    }
}

/// The results of a stage's tasks, and a place where they wait for the test.
// Unchecked: a stage has one thread.
final class TaskNotes: @unchecked Sendable {
    private var noted: [String] = []
    private var waiting: [UnsafeContinuation<Void, Never>] = []

    func note(_ text: String) { noted.append(text) }

    /// Notes the result of `body`, or the code of its error.
    nonisolated(nonsending) func note(_ body: () async throws -> String) async {
        do {
            note(try await body())
        } catch let error as NetError {
            note("\(error.code)")
        } catch {
            note("\(type(of: error))")
        }
    }

    /// Returns the notes since the last call.
    func take() -> [String] {
        defer { noted = [] }
        return noted
    }

    func wait() async {
        await withUnsafeContinuation { waiting.append($0) }
    }

    func release() {
        let all = waiting
        waiting = []
        for one in all { one.resume() }
    }
}

/// Runs `body` with a server whose connections have the task `serve`, and ends it.
func withTaskStage(
    _ options: Options = Options(), serve: @escaping TaskStage.Serve,
    _ body: (TaskStage) throws -> Void
) throws {
    let stage = try TaskStage(options, serve: serve)
    defer { stage.finish() }
    try body(stage)
}
