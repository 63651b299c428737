/// Listeners: accept, distribute, back off, and stop without resetting clients in the backlog.

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
            record.state = .listening
            record.listener = UInt16(listener)
            listeners[listener].token = record.token
            driver.attach(listeners[listener].bound.descriptor, as: record.token)
        case .backingOff, .full: break
        case .accepting, .stopping, .emptying, .closing, .closed: return
        }
        guard let token = listeners[listener].token else { return }
        listeners[listener].state = .accepting
        driver.submit(listeners[listener].operation, for: token)
    }

    func accepted(_ descriptor: Descriptor, on record: ConnectionReference) {
        let listener = Int(record.listener)
        // Too late to be served: all loops may be drained already.
        guard listeners[listener].state != .closing else { return sockets.discard(descriptor) }
        listeners[listener].backOff = Listener.shortestBackOff
        let stream = AcceptedStream(
            descriptor: descriptor,
            peer: driver.acceptedPeer ?? (try? sockets.remoteAddress(of: descriptor)))
        if listeners[listener].isStopping {
            placeInAnyCase(stream, listener: listener)
        } else if owner.takeRoom() {
            place(stream, listener: listener)
        } else {
            listeners[listener].parked.append(stream)
            owner.connectionParked()
        }
        if !owner.hasRoom { pauseAccepting(listener) }
        if let target = targetBehind(of: listener) { waitForLoop(target, listener) }
    }

    private func pauseAccepting(_ listener: Int) {
        guard listeners[listener].state == .accepting else { return }
        counters.acceptPauses.add()
        owner.report(.acceptPaused(listener: listener))
        stopStream(of: listener)
    }

    /// Leaves clients in the backlog until the loop has opened the connections passed to it.
    private func waitForLoop(_ target: Int, _ listener: Int) {
        guard listeners[listener].state == .accepting else { return }
        counters.acceptorWaits.add()
        owner.report(.acceptorWaits(loop: target))
        stopStream(of: listener)
    }

    /// A loop that is behind, if all target loops are; else nil.
    private func targetBehind(of listener: Int) -> Int? {
        listeners[listener].spreads ? targets.behind() : nil
    }

    private func stopStream(of listener: Int) {
        guard let token = listeners[listener].token else { return }
        listeners[listener].state = .stopping
        driver.submit(.stop(.accept), for: token)
    }

    /// Serves a connection that was in the backlog when a stop began, even above the limit.
    private func placeInAnyCase(_ stream: AcceptedStream, listener: Int) {
        owner.connectionAdded()
        place(stream, listener: listener)
    }

    /// Passes a stream that is already counted to a loop.
    private func place(_ stream: AcceptedStream, listener: Int) {
        counters.accepted.add()
        var stream = stream
        stream.isSecured = listeners[listener].bound.isSecured
        // A linger time inherited from the listener would block the loop in close(2).
        if listeners[listener].bound.isInherited {
            try? sockets.set(.linger(reset: false), on: stream.descriptor)
        }
        let host = configuration.countsHosts ? stream.peer?.host : nil
        if let host, !owner.hostConnected(host) {
            counters.hostRefusals.add()
            return refuse(stream)
        }
        let choice =
            listeners[listener].spreads ? targets.choose { stream.peer } : Targets.Choice()
        if choice.isFallBack { counters.balancerFallBacks.add() }
        guard let target = choice.target else {
            return open(stream, listener: listener, host: host)
        }
        guard !targets.remotes[target].adopt(stream, listener: listener, host: host) else {
            return
        }
        if let host { owner.hostDisconnected(host) }
        refuse(stream)
    }

    private func refuse(_ stream: AcceptedStream) {
        sockets.discard(stream.descriptor)
        owner.connectionClosed()
    }

    func acceptFailed(_ error: SystemError, on record: ConnectionReference) {
        let listener = Int(record.listener)
        if listeners[listener].isStopping { return finishStopping(listener) }
        let delay = listeners[listener].backOff
        listeners[listener].backOff = min(delay * 2, Listener.longestBackOff)
        listeners[listener].state = .backingOff
        counters.acceptBackOffs.add()
        owner.report(.acceptBackOff(error, listener: listener, retryIn: delay))
        timers.schedule(at: now + delay, .acceptAgain(listener))
    }

    /// A close frees a descriptor, so listeners do not wait for the timer.
    func acceptAfterClose() {
        guard !hasEnded else { return }
        for listener in listeners.indices where listeners[listener].state == .backingOff {
            startAccepting(listener)
        }
    }

    func resumeAccepting() {
        for listener in listeners.indices {
            while !listeners[listener].parked.isEmpty, owner.takeRoomForParked(),
                let stream = listeners[listener].takeParked()
            {
                place(stream, listener: listener)
            }
            guard listeners[listener].state == .full, owner.hasRoom else { continue }
            if targetBehind(of: listener) == nil { startAccepting(listener) }
        }
    }

    // MARK: Stopping: cancel, join, accept the backlog, close

    /// Connections accepted from one backlog in one turn of a stopping loop.
    private static var emptyingBudget: Int { 16 }
    /// The same when the time is up: the clients that have waited, and not a flood's. Linux's usual
    /// `net.core.somaxconn`.
    private static var lastEmptyingBudget: Int { 4096 }
    /// The longest time for emptying, since under a flood a backlog is never empty.
    static var longestEmptying: Nanoseconds { 1_000_000_000 }

    /// Stops accepting. Emptying the backlogs may last half of `limit`, at most a second.
    func stopAccepting(within limit: Nanoseconds) {
        stopHeard = stopHeard ?? now
        // A later request may shorten the time.
        emptyingLimit = min(limit / 2, emptyingLimit)
        for listener in listeners.indices where !listeners[listener].isStopping {
            listeners[listener].isStopping = true
            switch listeners[listener].state {
            case .accepting:
                listeners[listener].state = .stopping
                if let token = listeners[listener].token {
                    driver.submit(.stop(listeners[listener].stream), for: token)
                }
            case .idle, .backingOff, .full: finishStopping(listener)
            case .stopping, .emptying, .closing, .closed: break
            }
        }
        for listener in listeners.indices {
            guard case .emptying(let end) = listeners[listener].state else { continue }
            listeners[listener].state = .emptying(until: min(end, now + emptyingLimit))
        }
        checkAcceptingStopped()
    }

    func acceptStopped(_ record: ConnectionReference) {
        let listener = Int(record.listener)
        if listeners[listener].isStopping { return finishStopping(listener) }
        listeners[listener].state = .full
        // A connection may have closed before the stream had stopped.
        resumeAccepting()
    }

    private func finishStopping(_ listener: Int) {
        switch listeners[listener].state {
        case .emptying, .closing, .closed: return
        case .idle, .accepting, .stopping, .backingOff, .full: break
        }
        flushDatagrams()
        datagramSockets.close(listener)
        while let stream = listeners[listener].takeParked() {
            owner.parkedConnectionAdded()
            place(stream, listener: listener)
        }
        // If another server accepts on this socket too, the backlog is left to it.
        let bound = listeners[listener].bound
        guard !bound.isDatagram && !owner.isHandedOut(bound) else {
            return closeListener(listener)
        }
        listeners[listener].state = .emptying(until: now + emptyingLimit)
        emptyingCount += 1
        emptyBacklog(listener)
    }

    /// Accepts backlogs' connections, since a close with clients in the backlog would reset them.
    func emptyBacklogs() {
        for listener in listeners.indices { emptyBacklog(listener) }
    }

    /// The next time to check the backlogs: now or after an error's delay. While all loops are
    /// behind, it is the end of emptying, since a loop that catches up posts a message.
    var emptyingDeadline: Nanoseconds? {
        guard emptyingCount > 0 else { return nil }
        return listeners.indices.lazy.compactMap { listener -> Nanoseconds? in
            guard case .emptying(let end) = self.listeners[listener].state else { return nil }
            guard self.targetBehind(of: listener) == nil else { return end }
            return min(end, max(self.now, self.listeners[listener].looksAgain))
        }.min()
    }

    private func emptyBacklog(_ listener: Int) {
        guard case .emptying(let end) = listeners[listener].state else { return }
        // After a hand-out in the meantime, the backlog belongs to another server.
        guard !owner.isHandedOut(listeners[listener].bound) else { return endEmptying(listener) }
        // A slow callback may have used up the time before there was a single look.
        let isLast = driver.clock >= end
        if !isLast {
            guard listeners[listener].looksAgain <= now, targetBehind(of: listener) == nil else {
                return
            }
        }
        for _ in 0..<(isLast ? Self.lastEmptyingBudget : Self.emptyingBudget) {
            do throws(SystemError) {
                let descriptor = listeners[listener].bound.descriptor
                guard let waiting = try sockets.acceptWaiting(on: descriptor) else {
                    return endEmptying(listener)
                }
                placeInAnyCase(waiting, listener: listener)
            } catch {
                if isLast { break }
                // Descriptors are short; connections that close free some.
                listeners[listener].looksAgain = now + Listener.shortestBackOff
                return
            }
        }
        if isLast { endEmptying(listener) }
    }

    private func endEmptying(_ listener: Int) {
        emptyingCount -= 1
        closeListener(listener)
    }

    private func closeListener(_ listener: Int) {
        removePath(of: listeners[listener].bound)
        if let token = listeners[listener].token {
            listeners[listener].state = .closing
            driver.submit(.close, for: token)
        } else {
            listeners[listener].state = .closed
            sockets.discard(listeners[listener].bound.descriptor)
            // No `closed` follows, since the driver never had this descriptor.
            checkAcceptingStopped()
        }
    }

    func removePath(of listener: BoundListener) {
        if owner.listenerCloses(listener) { sockets.removePath(of: listener) }
    }

    func listenerClosed(_ record: ConnectionReference) {
        let listener = Int(record.listener)
        listeners[listener].state = .closed
        table.release(record)
        checkAcceptingStopped()
    }

    private func checkAcceptingStopped() {
        guard phase == .running, listeners.allSatisfy({ $0.state == .closed }) else { return }
        phase = .acceptedLast
        owner.acceptingStopped(index)
    }
}
