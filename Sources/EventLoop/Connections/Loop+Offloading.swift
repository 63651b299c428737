/// Blocking work of a connection: on another thread, one at a time, the result back on the loop.

/// What a connection has asked for. `run` is for the other thread, `done` for the loop.
package struct Offload {
    package let run: @Sendable () -> OffloadResult
    package let done: (OffloadResult) throws -> Void

    package init(
        run: @escaping @Sendable () -> OffloadResult,
        done: @escaping (OffloadResult) throws -> Void
    ) {
        self.run = run
        self.done = done
    }
}

package typealias OffloadResult = Result<any Sendable, any Error>

/// The pool had no room.
package struct OffloadRefused: Error {}

extension Loop {
    /// In order of the calls: the next one begins when `done` of the one before has run. An error
    /// of either closes the connection; after the close nothing is called.
    package func offload(
        _ connection: ConnectionReference, to pool: WorkerPool, _ job: Offload
    ) {
        guard connection.pointee.state == .open,
            let details = connection.pointee.details?.takeUnretainedValue()
        else { return }
        details.offloads.append(job)
        if details.offloads.count == 1 { startOffload(connection.pointee.token, details, pool) }
    }

    private func startOffload(_ token: Token, _ details: ConnectionDetails, _ pool: WorkerPool) {
        guard let job = details.offloads.first else { return }
        let (port, run) = (port, job.run)
        let isTaken = pool.submit {
            let result = run()
            _ = port.post(
                .run { loop in loop.offloadEnded(token, result, pool) }, always: true)
        }
        guard !isTaken else { return }
        details.offloads = []
        if let connection = table.find(token) {
            close(connection, .handlerError(OffloadRefused()))
        }
    }

    private func offloadEnded(_ token: Token, _ result: OffloadResult, _ pool: WorkerPool) {
        guard let connection = table.find(token), connection.pointee.state == .open,
            let details = connection.pointee.details?.takeUnretainedValue(),
            let job = details.offloads.first
        else { return }
        connection.pointee.lastSent = now
        runClosure(for: token) { _ in try job.done(result) }
        // The closure may have closed it, but a slot is never freed inside one.
        if !details.offloads.isEmpty { details.offloads.removeFirst() }
        if connection.pointee.state == .open { startOffload(token, details, pool) }
        // A stop that waited for it looks again.
        if details.offloads.isEmpty, case .draining = phase { drainDeadline = now }
    }
}
