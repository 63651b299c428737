/// Listeners: accepting, handing over, backing off, and stopping without resetting who waits.

/// One listening descriptor of a loop.
struct Listener {
    let bound: BoundListener
    /// Connections go to all loops by the balancer, not just to the one that accepts.
    let spreads: Bool
    var state = ListenerState.idle
    var token: Token?
    var isStopping = false
    /// Accepted when the limit of connections was reached already: a backend may be ahead of the
    /// loop. They wait as if they were still in the backlog.
    var parked: [Descriptor] = []
    /// Doubles with each failure in a row.
    var backOff = Self.shortestBackOff

    var stream: StreamKind { bound.isDatagram ? .datagrams : .accept }

    mutating func takeParked() -> Descriptor? { parked.isEmpty ? nil : parked.removeFirst() }

    static let shortestBackOff: Nanoseconds = 20_000_000
    static let longestBackOff: Nanoseconds = 500_000_000
}

enum ListenerState {
    case idle
    /// The driver's accept stream is running.
    case accepting
    /// That stream was asked to stop.
    case stopping
    /// Waits for descriptors or memory.
    case backingOff
    /// Waits for room under the limit of connections.
    case full
    /// The driver closes it.
    case closing
    case closed
}

extension Loop {
    func startAccepting() {
        for listener in listeners.indices { startAccepting(listener) }
    }

    func startAccepting(_ listener: Int) {
        guard !listeners[listener].isStopping else { return }
        switch listeners[listener].state {
        case .idle:
            guard let record = table.allocate() else {
                return owner.report(.slotsExhausted(loop: index))
            }
            record.pointee.state = .listening
            record.pointee.discarded = listener
            listeners[listener].token = record.pointee.token
            driver.attach(listeners[listener].bound.descriptor, as: record.pointee.token)
        case .backingOff, .full: break
        case .accepting, .stopping, .closing, .closed: return
        }
        guard let token = listeners[listener].token else { return }
        listeners[listener].state = .accepting
        driver.submit(
            listeners[listener].bound.isDatagram ? .receiveDatagrams : .accept, for: token)
    }

    func accepted(_ descriptor: Descriptor, on record: ConnectionReference) {
        let listener = record.pointee.discarded
        // Too late to be served: the loops may be drained already.
        guard listeners[listener].state != .closing else { return sockets.discard(descriptor) }
        listeners[listener].backOff = Listener.shortestBackOff
        guard listeners[listener].isStopping || owner.hasRoom else {
            listeners[listener].parked.append(descriptor)
            return pauseAccepting(listener)
        }
        if !place(descriptor, listener: listener) { pauseAccepting(listener) }
    }

    private func pauseAccepting(_ listener: Int) {
        guard listeners[listener].state == .accepting, let token = listeners[listener].token else {
            return
        }
        port.counters.acceptPauses.add()
        owner.report(.acceptPaused(listener: listener))
        listeners[listener].state = .stopping
        driver.submit(.stop(.accept), for: token)
    }

    /// Gives the descriptor to a loop; false if the server has no room for another one.
    private func place(_ descriptor: Descriptor, listener: Int) -> Bool {
        port.counters.accepted.add()
        // Asked once: after a reset the kernel no longer knows whom it was connected to.
        let host =
            configuration.countsHosts ? try? sockets.remoteAddress(of: descriptor).host : nil
        if let host, !owner.hostConnected(host) {
            port.counters.hostRefusals.add()
            sockets.discard(descriptor)
            return true
        }
        let hasRoom = owner.connectionAccepted()
        let target = listeners[listener].spreads ? target(for: descriptor) : port
        if target === port {
            open(descriptor, listener: listener, host: host)
        } else if target.post(
            .adopt(descriptor, listener: listener, host: host), always: true) != .accepted
        {
            if let host { owner.hostDisconnected(host) }
            sockets.discard(descriptor)
            owner.connectionClosed()
        }
        return hasRoom
    }

    private func target(for descriptor: Descriptor) -> LoopPort {
        let index = balancer.pick(
            among: targets.count, load: { targets[$0].counters.open },
            source: { try? sockets.remoteAddress(of: descriptor) })
        return targets[index]
    }

    func acceptFailed(_ error: SystemError, on record: ConnectionReference) {
        let listener = record.pointee.discarded
        if listeners[listener].isStopping { return finishStopping(listener) }
        let delay = listeners[listener].backOff
        listeners[listener].backOff = min(delay * 2, Listener.longestBackOff)
        listeners[listener].state = .backingOff
        port.counters.acceptBackOffs.add()
        owner.report(.acceptBackOff(error, listener: listener, retryIn: delay))
        timers.schedule(at: now + delay, .acceptAgain(listener))
    }

    /// A close makes room for a descriptor: no need to wait for the timer.
    func acceptAfterClose() {
        for listener in listeners.indices where listeners[listener].state == .backingOff {
            startAccepting(listener)
        }
    }

    func resumeAccepting() {
        for listener in listeners.indices {
            while owner.hasRoom, let descriptor = listeners[listener].takeParked() {
                _ = place(descriptor, listener: listener)
            }
            if listeners[listener].state == .full && owner.hasRoom { startAccepting(listener) }
        }
    }

    // MARK: Stopping: cancel, join, accept who waits, close

    func stopAccepting() {
        for listener in listeners.indices where !listeners[listener].isStopping {
            listeners[listener].isStopping = true
            switch listeners[listener].state {
            case .accepting:
                listeners[listener].state = .stopping
                if let token = listeners[listener].token {
                    driver.submit(.stop(listeners[listener].stream), for: token)
                }
            case .idle, .backingOff, .full: finishStopping(listener)
            case .stopping, .closing, .closed: break
            }
        }
        checkAcceptingStopped()
    }

    func acceptStopped(_ record: ConnectionReference) {
        let listener = record.pointee.discarded
        if listeners[listener].isStopping { return finishStopping(listener) }
        listeners[listener].state = .full
        // Room may have been made before the stream had stopped.
        resumeAccepting()
    }

    private func finishStopping(_ listener: Int) {
        guard listeners[listener].state != .closing else { return }
        let descriptor = listeners[listener].bound.descriptor
        flushDatagrams()
        forgetOutbox(listener)
        while let descriptor = listeners[listener].takeParked() {
            _ = place(descriptor, listener: listener)
        }
        // Closing with clients in the backlog would reset them. Bounded: more cannot wait than a
        // backlog holds.
        for _ in 0..<(listeners[listener].bound.isDatagram ? 0 : 65_536) {
            guard let waiting = try? sockets.acceptWaiting(on: descriptor) else { break }
            _ = place(waiting, listener: listener)
        }
        removePath(of: listeners[listener].bound)
        if let token = listeners[listener].token {
            listeners[listener].state = .closing
            driver.submit(.close, for: token)
        } else {
            listeners[listener].state = .closed
            sockets.discard(descriptor)
        }
    }

    func removePath(of listener: BoundListener) {
        if owner.listenerCloses(listener) { sockets.removePath(of: listener) }
    }

    func listenerClosed(_ record: ConnectionReference) {
        let listener = record.pointee.discarded
        listeners[listener].state = .closed
        record.pointee.discarded = 0
        table.release(record)
        checkAcceptingStopped()
    }

    private func checkAcceptingStopped() {
        guard phase == .running, listeners.allSatisfy({ $0.state == .closed }) else { return }
        phase = .acceptedLast
        owner.acceptingStopped(index)
    }
}
