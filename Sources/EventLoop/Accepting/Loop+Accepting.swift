/// Listeners: accept, distribute, back off, and stop without resetting clients in the backlog.

extension Loop {
    func startAccepting() {
        for listener in acceptor.indices { startAccepting(listener) }
    }

    func startAccepting(_ listener: Int) {
        endBackOff(listener)
        if acceptor.needsSlot(listener) {
            guard let record = table.allocate() else {
                owner.report(.slotsExhausted(loop: index))
                _ = acceptAgain(listener)
                return
            }
            record.state = .listening
            record.listener = UInt16(listener)
            acceptor.attached(listener, as: record.token)
            driver.attach(acceptor.listeners[listener].bound.descriptor, as: record.token)
        }
        guard let token = acceptor.start(listener) else { return }
        // Before the accept, so that each close after its failure is noticed.
        if acceptor.listeners[listener].hasFailed { owner.acceptAwaitsClose() }
        driver.submit(acceptor.listeners[listener].operation, for: token)
    }

    func accepted(_ descriptor: Descriptor, on record: ConnectionReference) {
        let listener = Int(record.listener)
        let admission = acceptor.admit(on: listener, takesRoom: owner.takeRoom())
        if case .refuse = admission { return sockets.discard(descriptor) }
        let stream = AcceptedStream(
            descriptor: descriptor,
            peer: driver.acceptedPeer ?? (try? sockets.remoteAddress(of: descriptor)),
            layers: acceptor.listeners[listener].bound.layers)
        switch admission {
        case .place: place(stream, listener: listener)
        case .placeBeyondLimit: placeInAnyCase(stream, listener: listener)
        case .park:
            acceptor.park(stream, on: listener)
            owner.connectionParked()
        case .refuse: break
        }
        // Last, so that the new connection counts.
        if let pause = acceptor.pause(listener, hasRoom: owner.hasRoom) {
            perform(pause, listener)
        }
    }

    /// Leaves clients in the backlog until there is room, or until a loop has opened the
    /// connections passed to it.
    @inline(never)
    private func perform(_ pause: Acceptor.Pause, _ listener: Int) {
        switch pause {
        case .full(let token):
            counters.acceptPauses.add()
            owner.report(.acceptPaused(listener: listener))
            driver.submit(.stop(.accept), for: token)
        case .behind(let loop, let token):
            counters.acceptorWaits.add()
            owner.report(.acceptorWaits(loop: loop))
            driver.submit(.stop(.accept), for: token)
        }
    }

    /// Serves a connection that was in the backlog when a stop began, even above the limit.
    private func placeInAnyCase(_ stream: AcceptedStream, listener: Int) {
        owner.connectionAdded()
        place(stream, listener: listener)
    }

    /// Passes a stream that is already counted to a loop.
    private func place(_ stream: AcceptedStream, listener: Int) {
        counters.accepted.add()
        // A linger time inherited from the listener would block the loop in close(2).
        if acceptor.listeners[listener].bound.isInherited {
            try? sockets.set(.linger(reset: false), on: stream.descriptor)
        }
        // Behind a proxy, the client's host counts, which the header tells.
        let countsPeer = configuration.countsHosts && !stream.layers.contains(.proxied)
        let host = countsPeer ? stream.peer?.host : nil
        if let host, !owner.hostConnected(host) {
            counters.hostRefusals.add()
            return refuse(stream)
        }
        let choice = acceptor.choose(for: listener, source: stream.peer)
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
        if record.lastReceived != 0 {
            // Datagrams came since the last failure. A look here costs each of them less than one
            // with each of them.
            acceptor.received(on: listener)
            record.lastReceived = 0
        }
        guard let delay = acceptAgain(listener) else { return finishStopping(listener) }
        counters.acceptBackOffs.add()
        owner.acceptAwaitsClose()
        owner.report(.acceptBackOff(error, listener: listener, retryIn: delay))
    }

    /// Accepts again later, and returns after which time; nil if the listener stops.
    private func acceptAgain(_ listener: Int) -> Nanoseconds? {
        guard case .retry(let delay) = acceptor.failed(listener) else { return nil }
        let timer = timers.schedule(at: now + delay, .acceptAgain(listener))
        acceptor.retries(listener, by: timer)
        return delay
    }

    /// Cancels the timer of a back-off. A close may have ended it earlier, and each timer that is
    /// left would accept once more.
    private func endBackOff(_ listener: Int) {
        timers.cancel(acceptor.listeners[listener].retry)
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
            while let stream = acceptor.nextParked(
                on: listener, takesRoom: owner.takeRoomForParked())
            {
                place(stream, listener: listener)
            }
            let mayResume = acceptor.mayResume(listener, hasRoom: owner.hasRoom)
            if mayResume || acceptor.retriesAfterClose(listener) { startAccepting(listener) }
        }
    }

    // MARK: Stopping: cancel, join, accept the backlog, close

    /// Stops accepting. Emptying the backlogs may last half of `limit`, at most a second.
    func stopAccepting(within limit: Nanoseconds) {
        acceptor.stopRequested(within: limit, now: now)
        for listener in acceptor.indices { stopAccepting(listener) }
        checkAcceptingStopped()
    }

    func stopAccepting(_ listener: Int) {
        endBackOff(listener)
        switch acceptor.stop(listener) {
        case .nothing: break
        case .stopStream(let kind, let token): driver.submit(.stop(kind), for: token)
        case .finish: finishStopping(listener)
        }
    }

    func acceptStopped(_ record: ConnectionReference) {
        let listener = Int(record.listener)
        guard acceptor.stopped(listener) == .resume else { return finishStopping(listener) }
        resumeAccepting()
    }

    private func finishStopping(_ listener: Int) {
        guard acceptor.mayFinish(listener) else { return }
        flushDatagrams()
        datagramSockets.close(listener)
        while let stream = acceptor.takeParked(on: listener) {
            owner.parkedConnectionAdded()
            place(stream, listener: listener)
        }
        let isHandedOut = owner.isHandedOut(acceptor.listeners[listener].bound)
        guard acceptor.beginEmptying(listener, isHandedOut: isHandedOut, now: now) else {
            return closeListener(listener)
        }
        emptyBacklog(listener)
    }

    /// Accepts backlogs' connections, since a close with clients in the backlog would reset them.
    func emptyBacklogs() {
        for listener in acceptor.indices { emptyBacklog(listener) }
    }

    private func emptyBacklog(_ listener: Int) {
        guard case .emptying = acceptor.listeners[listener].state else { return }
        switch acceptor.emptying(listener, clock: driver.clock, now: now) {
        case .wait: return
        case .accept(let most, let isLast):
            let descriptor = acceptor.listeners[listener].bound.descriptor
            emptyBacklog(listener, descriptor, most: most, isLast: isLast)
        }
    }

    private func emptyBacklog(
        _ listener: Int, _ descriptor: Descriptor, most: Int, isLast: Bool
    ) {
        for _ in 0..<most {
            do throws(SystemError) {
                guard var waiting = try sockets.acceptWaiting(on: descriptor) else {
                    return closeListener(listener)
                }
                waiting.layers = acceptor.listeners[listener].bound.layers
                placeInAnyCase(waiting, listener: listener)
            } catch {
                if isLast { break }
                return acceptor.emptyingFailed(listener, now: now)
            }
        }
        if isLast { closeListener(listener) }
    }

    private func closeListener(_ listener: Int) {
        let bound = acceptor.listeners[listener].bound
        removePath(of: bound)
        switch acceptor.close(listener) {
        case .byDriver(let token): driver.submit(.close, for: token)
        case .byLoop(let descriptor):
            sockets.discard(descriptor)
            owner.listenerClosed(bound)
            checkAcceptingStopped()
        }
    }

    /// Marks a listener as closed when the loop ends; the driver closes those that it has.
    func cutListener(_ listener: Int) {
        guard let closing = acceptor.cut(listener) else { return }
        let bound = acceptor.listeners[listener].bound
        removePath(of: bound)
        if case .byLoop(let descriptor) = closing { sockets.discard(descriptor) }
        datagramSockets.close(listener)
    }

    func removePath(of listener: BoundListener) {
        if owner.listenerCloses(listener) { sockets.removePath(of: listener) }
    }

    func listenerClosed(_ record: ConnectionReference) {
        let listener = Int(record.listener)
        acceptor.closed(listener)
        table.release(record)
        owner.listenerClosed(acceptor.listeners[listener].bound)
        checkAcceptingStopped()
    }

    private func checkAcceptingStopped() {
        guard phase == .running, acceptor.isStopping, acceptor.hasStopped else { return }
        phase = .acceptedLast
        owner.acceptingStopped(index)
    }
}
