/// The examples of the catalogue's page on clients that reconnect, compiled.
import NetAPI
import Synchronization

// example: begin reconnecting-state
final class Calls: EventHandler, Sendable {
    typealias Done = @Sendable (Result<[UInt8], any Error>) -> Void

    struct Call {
        let body: [UInt8], isRepeatable: Bool, deadline: Int, done: Done
    }

    struct State {
        var calls: [UInt64: Call] = [:]  // without an answer
        var unsent: ArraySlice<UInt64> = []  // those of them that no connection has got
        var lastID: UInt64 = 0
        var connection: ConnectionHandle?
        var failures = 0
        var ticks = 0
    }

    let address: Address
    let state = Mutex(State())
    // example: end

    init(to address: Address) { self.address = address }

    // example: begin reconnecting-connect
    func onBoot(_ loop: Loop) -> Action {
        if loop.index == 0 { connect(loop) }
        return .none
    }

    func connect(_ loop: Loop) {
        loop.connect(to: address, timeout: .seconds(3)) { [self] result in
            if case .failure = result { connectLater(loop) }
        }
    }

    func connectLater(_ loop: Loop) {
        guard !loop.isStopping else { return }
        let failures = state.withLock { state in
            state.failures += 1
            return state.failures
        }
        let most = Duration.milliseconds(50) * (1 << min(failures - 1, 6))
        loop.schedule(after: most * Double.random(in: 0.5...1)) { [self] in connect(loop) }
    }
    // example: end

    // example: begin reconnecting-call
    func call(_ body: [UInt8], repeats: Bool, _ done: @escaping Done) {
        let isAccepted = state.withLock { state in
            guard state.calls.count < 1024 else { return false }
            state.lastID += 1
            state.calls[state.lastID] = Call(
                body: body, isRepeatable: repeats, deadline: state.ticks + 50, done: done)
            if state.unsent.count >= 2048 { state.unsent.removeAll { state.calls[$0] == nil } }
            state.unsent.append(state.lastID)
            state.connection?.execute { self.send(on: $0) }
            return true
        }
        if !isAccepted { done(.failure(CallError.busy)) }
    }

    func nextToSend() -> (UInt64, [UInt8])? {
        state.withLock { state in
            while let id = state.unsent.popFirst() {
                if let call = state.calls[id] { return (id, call.body) }
            }
            return nil
        }
    }

    func send(on connection: Connection) {
        while connection.isWritable, let (id, body) = nextToSend() {
            connection.write(integer: UInt32(8 + body.count))
            connection.write(integer: id)
            connection.write(body)
        }
        connection.isBusy = state.withLock { !$0.calls.isEmpty }
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
    // example: end

    // example: begin reconnecting-answer
    func onTraffic(_ connection: Connection) throws -> Action {
        while let frame = try connection.nextFrame(length: UInt32.self, limit: 1 << 16) {
            guard let id: UInt64 = frame.integer() else { return .close }
            let answer = [UInt8](copying: frame.extracting(droppingFirst: 8))
            let call = state.withLock { state in
                state.failures = 0
                return state.calls.removeValue(forKey: id)
            }
            call?.done(.success(answer))
        }
        connection.isBusy = state.withLock { !$0.calls.isEmpty }
        return .none
    }
    // example: end

    // example: begin reconnecting-end
    func onHalfClose(_ connection: Connection) -> Action { .close }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        let isStopping = connection.loop.isStopping
        let lost = state.withLock { state in
            state.connection = nil
            let unsent = Set(state.unsent)
            let sent = state.calls.filter { !unsent.contains($0.key) }
            let repeated = sent.filter { !isStopping && $0.value.isRepeatable }
            state.unsent = repeated.keys.sorted() + state.unsent
            let lost = sent.filter { repeated[$0.key] == nil }
            for id in lost.keys { state.calls[id] = nil }
            return lost
        }
        for call in lost.values { call.done(.failure(CallError.lost)) }
        connectLater(connection.loop)
        return .none
    }
    // example: end

    // example: begin reconnecting-limit
    func onTick(_ loop: Loop) -> Tick {
        let late = state.withLock { state in
            state.ticks += 1
            let late = state.calls.filter { $0.value.deadline <= state.ticks }
            for id in late.keys { state.calls[id] = nil }
            return late
        }
        for call in late.values { call.done(.failure(CallError.timedOut)) }
        for connection in loop.connections { send(on: connection) }
        return .after(.milliseconds(100))
    }
    // example: end
}

private enum CallError: Error {
    case busy, lost, timedOut
}
