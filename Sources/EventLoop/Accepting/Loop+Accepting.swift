/// Listeners: accept, distribute, back off, and stop without resetting clients in the backlog.

extension Loop {
    func startAccepting() {
        for listener in acceptor.indices { startAccepting(listener) }
    }

    func startAccepting(_ listener: Int) {
        guard !acceptor.listeners[listener].isStopping else { return }
        switch acceptor.listeners[listener].state {
        case .idle:
            guard let record = table.allocate() else {
                return owner.report(.slotsExhausted(loop: index))
            }
            record.state = .listening
            record.listener = UInt16(listener)
            acceptor.listeners[listener].token = record.token
            driver.attach(acceptor.listeners[listener].bound.descriptor, as: record.token)
        case .backingOff, .full: break
        case .accepting, .stopping, .emptying, .closing, .closed: return
        }
        guard let token = acceptor.listeners[listener].token else { return }
        acceptor.enter(.accepting, listener)
        driver.submit(acceptor.listeners[listener].operation, for: token)
    }

    func accepted(_ descriptor: Descriptor, on record: ConnectionReference) {
        let listener = Int(record.listener)
        // Too late to be served: all loops may be drained already.
        guard acceptor.listeners[listener].state != .closing else {
            return sockets.discard(descriptor)
        }
        acceptor.listeners[listener].backOff = Listener.shortestBackOff
        let stream = AcceptedStream(
            descriptor: descriptor,
            peer: driver.acceptedPeer ?? (try? sockets.remoteAddress(of: descriptor)))
        if acceptor.listeners[listener].isStopping {
            placeInAnyCase(stream, listener: listener)
        } else if owner.takeRoom() {
            place(stream, listener: listener)
        } else {
            acceptor.listeners[listener].parked.append(stream)
            owner.connectionParked()
        }
        if !owner.hasRoom { pauseAccepting(listener) }
        if let target = acceptor.behind(listener) { waitForLoop(target, listener) }
    }

    private func pauseAccepting(_ listener: Int) {
        guard acceptor.listeners[listener].state == .accepting else { return }
        counters.acceptPauses.add()
        owner.report(.acceptPaused(listener: listener))
        stopStream(of: listener)
    }

    /// Leaves clients in the backlog until the loop has opened the connections passed to it.
    private func waitForLoop(_ target: Int, _ listener: Int) {
        guard acceptor.listeners[listener].state == .accepting else { return }
        counters.acceptorWaits.add()
        owner.report(.acceptorWaits(loop: target))
        stopStream(of: listener)
    }

    private func stopStream(of listener: Int) {
        guard let token = acceptor.listeners[listener].token else { return }
        acceptor.enter(.stopping, listener)
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
        if acceptor.listeners[listener].bound.isInherited {
            try? sockets.set(.linger(reset: false), on: stream.descriptor)
        }
        let host = configuration.countsHosts ? stream.peer?.host : nil
        if let host, !owner.hostConnected(host) {
            counters.hostRefusals.add()
            return refuse(stream)
        }
        let choice =
            acceptor.listeners[listener].spreads
            ? acceptor.targets.choose { stream.peer } : Targets.Choice()
        if choice.isFallBack { counters.balancerFallBacks.add() }
        guard let target = choice.target else {
            return open(stream, listener: listener, host: host)
        }
        guard !acceptor.targets.remotes[target].adopt(stream, listener: listener, host: host) else {
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
        if acceptor.listeners[listener].isStopping { return finishStopping(listener) }
        let delay = acceptor.listeners[listener].backOff
        acceptor.listeners[listener].backOff = min(delay * 2, Listener.longestBackOff)
        acceptor.enter(.backingOff, listener)
        counters.acceptBackOffs.add()
        owner.report(.acceptBackOff(error, listener: listener, retryIn: delay))
        timers.schedule(at: now + delay, .acceptAgain(listener))
    }

    /// A close frees a descriptor, so listeners do not wait for the timer.
    func acceptAfterClose() {
        guard !hasEnded else { return }
        for listener in acceptor.indices where acceptor.isBackingOff(listener) {
            startAccepting(listener)
        }
    }

    func resumeAccepting() {
        for listener in acceptor.indices {
            while !acceptor.listeners[listener].parked.isEmpty, owner.takeRoomForParked(),
                let stream = acceptor.listeners[listener].takeParked()
            {
                place(stream, listener: listener)
            }
            guard acceptor.listeners[listener].state == .full, owner.hasRoom else { continue }
            if acceptor.behind(listener) == nil { startAccepting(listener) }
        }
    }

    // MARK: Stopping: cancel, join, accept the backlog, close

    /// Connections accepted from one backlog in one turn of a stopping loop.
    private static var emptyingBudget: Int { 16 }
    /// The same when the time is up: the clients that have waited, and not a flood's. Linux's usual
    /// `net.core.somaxconn`.
    private static var lastEmptyingBudget: Int { 4096 }

    /// Stops accepting. Emptying the backlogs may last half of `limit`, at most a second.
    func stopAccepting(within limit: Nanoseconds) {
        acceptor.stopHeard = acceptor.stopHeard ?? now
        // A later request may shorten the time.
        acceptor.emptyingLimit = min(limit / 2, acceptor.emptyingLimit)
        for listener in acceptor.indices where !acceptor.listeners[listener].isStopping {
            acceptor.listeners[listener].isStopping = true
            switch acceptor.listeners[listener].state {
            case .accepting:
                acceptor.enter(.stopping, listener)
                if let token = acceptor.listeners[listener].token {
                    driver.submit(.stop(acceptor.listeners[listener].stream), for: token)
                }
            case .idle, .backingOff, .full: finishStopping(listener)
            case .stopping, .emptying, .closing, .closed: break
            }
        }
        for listener in acceptor.indices {
            guard case .emptying(let end) = acceptor.listeners[listener].state else { continue }
            acceptor.enter(.emptying(until: min(end, now + acceptor.emptyingLimit)), listener)
        }
        checkAcceptingStopped()
    }

    func acceptStopped(_ record: ConnectionReference) {
        let listener = Int(record.listener)
        if acceptor.listeners[listener].isStopping { return finishStopping(listener) }
        acceptor.enter(.full, listener)
        // A connection may have closed before the stream had stopped.
        resumeAccepting()
    }

    private func finishStopping(_ listener: Int) {
        switch acceptor.listeners[listener].state {
        case .emptying, .closing, .closed: return
        case .idle, .accepting, .stopping, .backingOff, .full: break
        }
        flushDatagrams()
        datagramSockets.close(listener)
        while let stream = acceptor.listeners[listener].takeParked() {
            owner.parkedConnectionAdded()
            place(stream, listener: listener)
        }
        // If another server accepts on this socket too, the backlog is left to it.
        let bound = acceptor.listeners[listener].bound
        guard !bound.isDatagram && !owner.isHandedOut(bound) else {
            return closeListener(listener)
        }
        acceptor.enter(.emptying(until: now + acceptor.emptyingLimit), listener)
        emptyBacklog(listener)
    }

    /// Accepts backlogs' connections, since a close with clients in the backlog would reset them.
    func emptyBacklogs() {
        for listener in acceptor.indices { emptyBacklog(listener) }
    }

    private func emptyBacklog(_ listener: Int) {
        guard case .emptying(let end) = acceptor.listeners[listener].state else { return }
        // After a hand-out in the meantime, the backlog belongs to another server.
        guard !owner.isHandedOut(acceptor.listeners[listener].bound) else {
            return closeListener(listener)
        }
        // A slow callback may have used up the time before there was a single look.
        let isLast = driver.clock >= end
        if !isLast {
            guard acceptor.listeners[listener].looksAgain <= now, acceptor.behind(listener) == nil
            else {
                return
            }
        }
        for _ in 0..<(isLast ? Self.lastEmptyingBudget : Self.emptyingBudget) {
            do throws(SystemError) {
                let descriptor = acceptor.listeners[listener].bound.descriptor
                guard let waiting = try sockets.acceptWaiting(on: descriptor) else {
                    return closeListener(listener)
                }
                placeInAnyCase(waiting, listener: listener)
            } catch {
                if isLast { break }
                // Descriptors are short; connections that close free some.
                acceptor.listeners[listener].looksAgain = now + Listener.shortestBackOff
                return
            }
        }
        if isLast { closeListener(listener) }
    }

    private func closeListener(_ listener: Int) {
        removePath(of: acceptor.listeners[listener].bound)
        if let token = acceptor.listeners[listener].token {
            acceptor.enter(.closing, listener)
            driver.submit(.close, for: token)
        } else {
            acceptor.enter(.closed, listener)
            sockets.discard(acceptor.listeners[listener].bound.descriptor)
            // No `closed` follows, since the driver never had this descriptor.
            checkAcceptingStopped()
        }
    }

    func removePath(of listener: BoundListener) {
        if owner.listenerCloses(listener) { sockets.removePath(of: listener) }
    }

    func listenerClosed(_ record: ConnectionReference) {
        let listener = Int(record.listener)
        acceptor.enter(.closed, listener)
        table.release(record)
        checkAcceptingStopped()
    }

    private func checkAcceptingStopped() {
        guard phase == .running, acceptor.hasStopped else { return }
        phase = .acceptedLast
        owner.acceptingStopped(index)
    }
}
