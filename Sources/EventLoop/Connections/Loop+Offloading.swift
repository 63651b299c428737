import Synchronization

/// Blocking work of a connection: on another thread, one job at a time, with the result on the
/// loop.

/// A job of a connection. `run` is for the other thread, the other closures for the loop.
package struct Offload {
    let run: @Sendable () -> OffloadResult
    let done: (OffloadResult) throws -> Void
    /// Called in place of `done` when the pool refuses the job. An error closes the connection.
    let refused: () throws -> Void

    package init(
        run: @escaping @Sendable () -> OffloadResult,
        done: @escaping (OffloadResult) throws -> Void, refused: @escaping () throws -> Void
    ) {
        self.run = run
        self.done = done
        self.refused = refused
    }
}

package typealias OffloadResult = Result<any Sendable, any Error>

/// The pool had no room, or one callback submitted far too many jobs.
package struct OffloadRefused: Error {
    package init() {}
}

/// A connection's jobs: at most one of them is in the pool.
final class ConnectionWork {
    @exclusivity(unchecked) var jobs = Fifo<Offload>(capacity: 4)
    /// The job in the pool.
    @exclusivity(unchecked) var current: Offload?
    /// A refusal is being reported: jobs that its closure adds wait a little.
    @exclusivity(unchecked) var isRefusing = false
    /// Read by the pool's threads.
    let mark = GoneMark()

    var count: Int { jobs.count + (current == nil ? 0 : 1) }

    /// Drops all jobs that have not begun, since the connection closes.
    func drop() {
        mark.isGone.store(true, ordering: .relaxed)
        while jobs.popFirst() != nil {}
    }
}

/// Whether a connection has closed, for other threads.
final class GoneMark: Sendable {
    let isGone = Atomic(false)
}

extension Loop {
    /// The jobs above the limit that one callback may still add before the connection closes.
    private static var workExcess: Int { 1024 }
    private static var refusedWorkTime: Nanoseconds { 5_000_000 }

    /// Queues a job. Jobs run in the order of the calls: the next begins after `done` of the
    /// previous one. An error of either closure closes the connection. After the close no closure
    /// is called.
    package func offload(_ connection: ConnectionReference, _ job: Offload) {
        guard connection.state == .open,
            let details = connection.details?.takeUnretainedValue()
        else { return }
        let work = details.work ?? ConnectionWork()
        details.work = work
        let count = work.count
        if count >= configuration.workLimit {
            guard count < configuration.workLimit + Self.workExcess else {
                counters.offloadRefusals.add()
                return close(connection, .handlerError(OffloadRefused()))
            }
        }
        work.jobs.append(job)
        if count + 1 >= configuration.workLimit { pauseForWork(connection) }
        guard work.current == nil, !work.isRefusing else { return }
        // Not inside this call, since a refusal is reported by a closure of the same handler.
        connection.flags.insert(.workDue)
        enqueue(connection)
    }

    /// Whether there is room for another job under the limit.
    package func canOffload(_ connection: ConnectionReference) -> Bool {
        connection.state == .open && !connection.pauses.contains(.work)
    }

    /// Pauses reading, since input causes more work than is done.
    private func pauseForWork(_ connection: ConnectionReference) {
        guard connection.flags.isDisjoint(with: [.paused(.work), .broken]) else { return }
        connection.pauses.insert(.work)
        counters.workPauses.add()
        updateReading(connection)
    }

    /// Submits the next job to the pool. Jobs that it refuses are refused to the handler, in order.
    func startWork(_ connection: ConnectionReference) {
        connection.flags.remove(.workDue)
        guard let work = connection.details?.takeUnretainedValue().work else { return }
        let token = connection.token
        var left = work.jobs.count
        while left > 0, work.current == nil, connection.state == .open,
            let job = work.jobs.popFirst()
        {
            left -= 1
            if submit(job, of: token, work) {
                work.current = job
            } else {
                work.isRefusing = true
                runClosure(for: token) { _ in try job.refused() }
                work.isRefusing = false
            }
        }
        // Jobs added by a refusal's closure: an immediate submit would be refused again and again.
        if work.current == nil && work.jobs.count > 0 && connection.state == .open {
            timers.schedule(at: now + Self.refusedWorkTime, .workAgain(token))
        }
        resumeAfterWork(connection, work)
    }

    private func submit(_ job: Offload, of token: Token, _ work: ConnectionWork) -> Bool {
        guard let workers = configuration.workers else { return false }
        let (remote, run, mark) = (remote, job.run, work.mark)
        return workers.submit {
            guard !mark.isGone.load(ordering: .relaxed) else { return workers.noteSkipped() }
            let result = run()
            _ = remote.post(.run { loop in loop.workEnded(token, result) }, always: true)
        }
    }

    private func workEnded(_ token: Token, _ result: OffloadResult) {
        guard let connection = table.find(token), connection.state == .open,
            let work = connection.details?.takeUnretainedValue().work,
            let job = work.current
        else { return }
        work.current = nil
        connection.lastSent = now
        runClosure(for: token) { _ in try job.done(result) }
        // The closure may have closed the connection, but a slot is never freed inside a closure.
        guard connection.state == .open else { return }
        startWork(connection)
    }

    /// Resumes reading at half of the limit. Reports an end that waited for the last job.
    private func resumeAfterWork(_ connection: ConnectionReference, _ work: ConnectionWork) {
        guard connection.state == .open else { return }
        if connection.pauses.contains(.work)
            && work.count <= configuration.workLimit / 2
        {
            connection.pauses.remove(.work)
            // The handler stopped reading in the middle of its input.
            showUnread(connection)
        }
        if work.count == 0 { workDone(connection) }
    }

    /// Has the connection's end and the drain checked again after the server's own work.
    func workDone(_ connection: ConnectionReference) {
        if connection.flags.contains(.endDue) { enqueue(connection) }
        if case .draining = phase { drainDeadline = now }
    }

    func hasWork(_ connection: ConnectionReference) -> Bool {
        let work = connection.details?.takeUnretainedValue().work
        return work.map { $0.count > 0 } ?? false
    }

    /// Whether the connection waits for the server, not for the peer.
    func isWorking(_ connection: ConnectionReference) -> Bool {
        isBusy(connection) || hasWork(connection)
    }
}
