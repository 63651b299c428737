/// The calls of a client to one server. They survive the end of a connection: the client connects
/// again, repeats the calls that may be repeated and fails the others.
import NetAPI
import RPCCodec
import Synchronization

/// The handler of the client, and the interface to its calls for any thread.
final class Calls: EventHandler, Sendable {
    typealias Done = @Sendable (Result<[UInt8], any Error>) -> Void

    /// The most unanswered calls. With `Frame.limit` it bounds the memory.
    static let most = 1024
    static let tick = Duration.milliseconds(100)

    private struct State {
        var table = CallTable()
        var lastID: UInt64 = 0
        var connection: ConnectionHandle?
        /// The attempts and connections since the last answer.
        var failures = 0
        var isClosed = false
    }

    private let address: Address
    private let state = Mutex(State())

    init(to address: Address) { self.address = address }

    var unanswered: Int { state.withLock { $0.table.count } }

    // MARK: Calls

    /// Returns the answer. A call that `repeats` may be executed twice: it is sent again if its
    /// connection ends. Throws `CallError`, and `CancellationError` at once if the task is
    /// cancelled.
    func call(
        _ method: UInt8, _ body: [UInt8], repeats: Bool = false,
        within limit: Duration = .seconds(5)
    ) async throws -> [UInt8] {
        let id = newID()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                begin(Frame(id: id, code: method, body: body), repeats, limit) {
                    continuation.resume(with: $0)
                }
                // The cancellation may have come before the call was in the table.
                if Task.isCancelled { finish(id, .failure(CancellationError())) }
            }
        } onCancel: {
            finish(id, .failure(CancellationError()))
        }
    }

    /// Like `call`, but with a closure. It runs on the loop, or on the calling thread.
    func begin(
        _ method: UInt8, _ body: [UInt8], repeats: Bool = false,
        within limit: Duration = .seconds(5), _ done: @escaping Done
    ) {
        begin(Frame(id: newID(), code: method, body: body), repeats, limit, done)
    }

    /// Refuses further calls and fails those that wait for a connection. The client's `stop` then
    /// waits for the answers to the others.
    func close() {
        let unsent = state.withLock { state in
            state.isClosed = true
            return state.table.takeUnsent()
        }
        for call in unsent { call.done(.failure(CallError.closed)) }
    }

    private func newID() -> UInt64 {
        state.withLock {
            $0.lastID += 1
            return $0.lastID
        }
    }

    private func begin(
        _ frame: Frame, _ repeats: Bool, _ limit: Duration, _ done: @escaping Done
    ) {
        let refusal = state.withLock { state -> CallError? in
            if state.isClosed { return .closed }
            if frame.body.count > Frame.bodyLimit { return .tooLong }
            if state.table.count >= Self.most { return .busy }
            // No limit is longer than 3 million years, so that an Int holds its end.
            let ticks = Int(min(max(0, limit / Self.tick), 1e15).rounded(.up))
            state.table.add(frame, isRepeatable: repeats, ticks: ticks, done)
            // If the mailbox is full, the next tick sends the call.
            state.connection?.execute { self.send(on: $0) }
            return nil
        }
        if let refusal { done(.failure(refusal)) }
    }

    // The closures of calls run outside the lock, since they may begin another call.
    private func finish(_ id: UInt64, _ result: Result<[UInt8], any Error>) {
        let call = state.withLock { $0.table.remove(id) }
        call?.done(result)
    }

    // MARK: Connections

    func onBoot(_ loop: Loop) -> Action {
        if loop.index == 0 { connect(loop) }
        return .none
    }

    private func connect(_ loop: Loop) {
        loop.connect(to: address, timeout: .seconds(3)) { [self] result in
            if case .failure = result { connectLater(loop) }
        }
    }

    /// Doubles the delay up to 3.2 s. Its random part keeps many clients of one server from
    /// connecting all at once.
    private func connectLater(_ loop: Loop) {
        let (failures, isClosed) = state.withLock { state in
            state.failures += 1
            return (state.failures, state.isClosed)
        }
        guard !isClosed, !loop.isStopping else { return }
        let most = Duration.milliseconds(50) * (1 << min(failures - 1, 6))
        loop.schedule(after: most * Double.random(in: 0.5...1)) { [self] in connect(loop) }
    }

    func onOpen(_ connection: Connection) -> Action {
        state.withLock { $0.connection = connection.handle }
        send(on: connection)
        return .none
    }

    func onWritable(_ connection: Connection) -> Action {
        send(on: connection)
        return .none
    }

    private func send(on connection: Connection) {
        while connection.isWritable, let call = state.withLock({ $0.table.nextToSend() }) {
            call.write(to: connection)
        }
        noteBusy(connection)
    }

    /// A busy connection is not closed by a stop for half of its limit.
    private func noteBusy(_ connection: Connection) { connection.isBusy = unanswered > 0 }

    func onTraffic(_ connection: Connection) throws -> Action {
        while let bytes = try connection.nextFrame(length: UInt32.self, limit: Frame.limit) {
            guard let answer = Frame(bytes) else { return .close }
            // Only an answer shows that the server works. Another may accept and end at once.
            state.withLock { $0.failures = 0 }
            let reason = CallError.refused(String(decoding: answer.body, as: UTF8.self))
            finish(
                answer.id,
                answer.code == Status.answer ? .success(answer.body) : .failure(reason))
        }
        noteBusy(connection)
        return .none
    }

    /// The server's end leaves a busy connection open, but no answer can follow.
    func onHalfClose(_ connection: Connection) -> Action { .close }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        let lost = state.withLock { state in
            state.connection = nil
            return state.table.connectionEnded(mayRepeat: !state.isClosed)
        }
        for call in lost { call.done(.failure(CallError.lost)) }
        connectLater(connection.loop)
        return .none
    }

    func onTick(_ loop: Loop) -> Tick {
        let late = state.withLock { $0.table.tick() }
        for call in late { call.done(.failure(CallError.timedOut)) }
        for connection in loop.connections { send(on: connection) }
        return .after(Self.tick)
    }
}
