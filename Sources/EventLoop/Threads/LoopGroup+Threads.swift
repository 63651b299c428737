import CMillraceLinux

/// Starts a group: one thread per loop, or, in a simulation, all loops stepped on one thread.
extension LoopGroup {
    /// Starts a thread per loop, boots their handlers and begins to accept. Returns the first
    /// error; then no loop runs and no address stays bound.
    package func start(_ listeners: Listeners) -> (any Error)? {
        var threads: [LoopThread] = []
        for index in 0..<loopCount {
            do throws(SystemError) {
                threads.append(
                    try LoopThread(name: "millrace-\(index)") { [self] in
                        run(index, listeners.perLoop[index])
                    })
            } catch {
                discard(Listeners(perLoop: Array(listeners.perLoop[index...])))
                state.update { $0.bootError = $0.bootError ?? error }
                break
            }
        }
        let started = threads.count
        let failure = state.wait { $0.booted == started ? .some($0.bootError) : nil }
        let isGood = failure == nil
        // Stored before the loops run, since a stop joins these threads.
        let threadsToJoin = isGood ? threads : []
        joiner.withLock { $0.threads = threadsToJoin }
        state.update { $0.verdict = isGood ? .run : .abandon }
        if let failure {
            for thread in threads { thread.join() }
            // Callers that wait for the end of this group are notified too.
            let bodies = state.update { state in
                state.alive = 0
                defer { state.whenEnded = [] }
                return state.whenEnded
            }
            for body in bodies { body() }
            return failure
        }
        post(.startAccepting)
        // A handler may have requested the stop in `onBoot`.
        if let stop = state.withLock({ $0.stop }) { post(.stopAccepting(within: stop.within)) }
        return nil
    }

    /// Waits for the threads' end, also if another caller joins them. Not from one of these
    /// threads.
    package func join() {
        let threads = joiner.wait { joiner -> [LoopThread]? in
            guard !joiner.isJoining else { return nil }
            defer { joiner.threads = [] }
            joiner.isJoining = !joiner.threads.isEmpty
            return joiner.threads
        }
        guard !threads.isEmpty else { return }
        for thread in threads { thread.join() }
        joiner.update { $0.isJoining = false }
    }

    /// Waits until every handler has booted. False if the start has failed.
    package func waitUntilBooted() -> Bool {
        state.wait { $0.verdict == .undecided ? nil : $0.verdict == .run }
    }

    private func run(_ index: Int, _ listeners: [(bound: BoundListener, spreads: Bool)]) {
        mr_thread_mark_loop()
        if configuration.pinLoops && index < configuration.loops {
            _ = mr_pin_thread(processors[index])
        }
        guard let loop = boot(index, listeners) else { return }
        let verdict = state.wait { $0.verdict == .undecided ? nil : $0.verdict }
        loop.asCurrent {
            guard verdict == .run else { return loop.abandon() }
            while loop.turn() {}
            guard loop.owesGoodbye else { return }
            state.wait { $0.undrained.isEmpty ? () : nil }
            loop.endAfterFailure()
        }
        if verdict == .run { loopEnded() }
    }

    private func boot(
        _ index: Int, _ listeners: [(bound: BoundListener, spreads: Bool)]
    ) -> Loop? {
        let driver: any Driver
        let remote: LoopRemote
        do {
            (driver, remote) = try makeRemote(index)
            state.update { $0.remotes[index] = remote }
        } catch {
            discard(Listeners(perLoop: [listeners]))
            bootFailed(error)
            return nil
        }
        // The error of another loop ends the wait for its remote end.
        let remotes = state.wait { state -> Result<[LoopRemote], BootAbandoned>? in
            if state.bootError != nil { return .failure(BootAbandoned()) }
            let remotes = state.remotes.compactMap { $0 }
            return remotes.count == loopCount ? .success(remotes) : nil
        }
        guard case .success(let remotes) = remotes else {
            // The messages posted to this remote end must be answered: the loop never runs.
            let loop = Loop(
                index: index, remote: remote, driver: driver, sockets: parts.sockets,
                delegate: AcceptorDelegate(), configuration: configuration.loop,
                listeners: listeners, targets: [remote], balancer: configuration.balancer,
                owner: self)
            loop.asCurrent { loop.abandon() }
            state.update { $0.booted += 1 }
            return nil
        }
        let loop = makeLoop(index, driver, remotes, listeners)
        do {
            try loop.asCurrent { try loop.boot() }
            state.update { $0.booted += 1 }
        } catch {
            bootFailed(error)
        }
        return loop
    }

    private struct BootAbandoned: Error {}

    private func bootFailed(_ error: any Error) {
        state.update { state in
            if state.bootError == nil { state.bootError = error }
            state.booted += 1
        }
    }

    // MARK: One thread for all

    /// Makes every loop on this thread and begins to accept. The caller runs their turns, in any
    /// order, until each has ended. After an error no loop runs and no address stays bound.
    package func startStepped(_ listeners: Listeners) throws -> [SteppedLoop] {
        var drivers: [any Driver] = []
        var remotes: [LoopRemote] = []
        for index in 0..<loopCount {
            let (driver, remote) = try makeRemote(index)
            drivers.append(driver)
            remotes.append(remote)
        }
        let all = remotes
        state.update { state in
            state.remotes = all
            state.booted = all.count
            state.verdict = .run
            state.isStepped = true
        }
        let loops = remotes.indices.map {
            makeLoop($0, drivers[$0], remotes, listeners.perLoop[$0])
        }
        do {
            for loop in loops { try loop.asCurrent { try loop.boot() } }
        } catch {
            for loop in loops { loop.asCurrent { loop.abandon() } }
            for _ in loops { loopEnded() }
            throw error
        }
        post(.startAccepting)
        if let stop = state.withLock({ $0.stop }) { post(.stopAccepting(within: stop.within)) }
        return loops.map { SteppedLoop(loop: $0, group: self) }
    }
}

/// A loop whose turns its caller runs.
package final class SteppedLoop {
    package let loop: Loop
    private let group: LoopGroup
    package private(set) var hasEnded = false

    init(loop: Loop, group: LoopGroup) {
        self.loop = loop
        self.group = group
    }

    /// Runs one turn; does nothing once the loop has ended.
    package func turn() {
        guard !hasEnded, !loop.asCurrent({ loop.turn() }) else { return }
        if loop.owesGoodbye {
            guard group.isDrained else { return }
            loop.asCurrent { loop.endAfterFailure() }
        }
        hasEnded = true
        group.loopEnded()
    }
}
