import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Accepting when the kernel reports errors, when the server is full, and when it stops.
@Suite struct LoopAcceptTests {
    private func failure(_ number: Int32) -> QueuedEvent {
        .failed(.accept, SystemError(number, "accept"))
    }

    /// Turns until just before the back-off ends, and then past it. Returns the requests after
    /// that.
    private func waitOut(_ delay: Nanoseconds, _ stage: Stage) -> [Stage.Request] {
        #expect(stage.turn() == [])
        #expect(stage.lastWait == delay)
        #expect(stage.turn(after: delay - 1) == [])
        #expect(stage.turn() == [])
        #expect(stage.turn(after: 1) == [])
        return stage.turn()
    }

    // MARK: Back-off

    @Test("each failure in a row doubles the back-off up to half a second, an accept resets it")
    func backOff() throws {
        try withStage { stage in
            let listener = try stage.startAccepting()
            for milliseconds in [20, 40, 80, 160, 320, 500, 500] as [Nanoseconds] {
                let delay = Nanoseconds.milliseconds(milliseconds)
                #expect(stage.turn((listener, failure(EMFILE))) == [])
                #expect(stage.owner.take() == [.backOff(EMFILE, retryIn: delay)])
                #expect(waitOut(delay, stage) == [.accept(listener)])
            }
            #expect(stage.remote.counters.acceptBackOffs.current == 7)
            stage.turn((listener, .accepted(try stage.makeDescriptor())))
            #expect(stage.turn((listener, failure(ENFILE))) == [])
            #expect(stage.owner.take() == [.backOff(ENFILE, retryIn: .milliseconds(20))])
        }
    }

    @Test("a close during the back-off accepts at once, and the timer not again")
    func closeDuringBackOff() throws {
        try withStage { stage in
            let listener = try stage.startAccepting()
            let token = try stage.open()
            stage.turn((listener, failure(EMFILE)))
            stage.abort(token)
            #expect(stage.turn((token, .closed)) == [.accept(listener)])
            stage.turn(after: .milliseconds(20))
            #expect(stage.turn() == [])
        }
    }

    /// Each close during a back-off would leave another timer, and descriptors stay short.
    @Test("however often a close ends a back-off early, there is one attempt for each back-off")
    func oneTimerForEachBackOff() throws {
        try withStage { stage in
            let listener = try stage.startAccepting()
            var token = try stage.open()
            for _ in 0..<3 {
                stage.turn((listener, failure(EMFILE)))
                stage.turn(after: .milliseconds(5))
                stage.abort(token)
                #expect(stage.turn((token, .closed)) == [.accept(listener)])
                stage.turn((listener, .accepted(try stage.makeDescriptor())))
                token = try #require(stage.delegate.lastOpened)
            }
            stage.turn((listener, failure(EMFILE)))
            var attempts: [Int] = []
            for time in 1...500 {
                guard stage.turn(after: .milliseconds(1)).contains(.accept(listener)) else {
                    continue
                }
                attempts.append(time)
                stage.turn((listener, failure(EMFILE)))
            }
            // 20 ms, 40, 80 and 160 after each other.
            #expect(attempts.count == 4, "\(attempts)")
        }
    }

    @Test("a stop during the back-off closes at once, and the timer wakes nobody")
    func stopDuringBackOff() throws {
        try withStage { stage in
            let listener = try stage.startAccepting()
            stage.turn((listener, failure(EMFILE)))
            _ = stage.owner.take()
            #expect(stage.stopAccepting() == [.close(listener)])
            stage.turn(after: .milliseconds(20))
            #expect(stage.turn() == [])
            #expect(stage.owner.take() == [])
            #expect(stage.turn((listener, .closed)) == [])
            #expect(stage.owner.take() == [.acceptingStopped])
        }
    }

    // MARK: A full server

    @Test("who is accepted beyond the limit waits for room, and so does the listener")
    func full() throws {
        try withStage { stage in
            let listener = try stage.startAccepting()
            stage.owner.limit = 1
            let descriptors = try (0..<3).map { _ in try stage.makeDescriptor() }
            // The driver accepted all three before the stop reached it.
            let first = stage.turn(
                (listener, .accepted(descriptors[0])), (listener, .accepted(descriptors[1])),
                (listener, .accepted(descriptors[2])))
            var token = try #require(stage.delegate.lastOpened)
            #expect(
                first == [
                    .attach(descriptors[0], token), .receive(token), .stop(.accept, listener),
                ])
            #expect(stage.owner.take() == [.acceptPaused])
            #expect(stage.turn((listener, .stopped(.accept))) == [])
            for parked in [descriptors[1], descriptors[2]] {
                stage.abort(token)
                #expect(stage.turn((token, .closed)) == [])
                let next = stage.turn(message: .resumeAccepting)
                token = try #require(stage.delegate.lastOpened)
                #expect(next == [.attach(parked, token), .receive(token)])
            }
            stage.abort(token)
            #expect(stage.turn((token, .closed)) == [])
            #expect(stage.turn(message: .resumeAccepting) == [.accept(listener)])
        }
    }

    @Test("room that is made before the stop is answered: accepting goes on at that answer")
    func roomBeforeStopped() throws {
        try withStage { stage in
            let listener = try stage.startAccepting()
            stage.owner.limit = 1
            stage.turn((listener, .accepted(try stage.makeDescriptor())))
            let token = try #require(stage.delegate.lastOpened)
            stage.abort(token)
            #expect(stage.turn((token, .closed)) == [])
            #expect(stage.turn(message: .resumeAccepting) == [])
            #expect(stage.turn((listener, .stopped(.accept))) == [.accept(listener)])
        }
    }

    @Test("who was parked goes before who was accepted later, although that found room")
    func parkedFirst() throws {
        try withStage { stage in
            let (listener, descriptors) = try fill(stage, of: 3)
            let first = try #require(stage.delegate.lastOpened)
            stage.abort(first)
            // Accepted before the driver had stopped, and after room became free.
            let late = stage.turn((first, .closed), (listener, .accepted(descriptors[2])))
            #expect(late == [])
            for parked in descriptors[1...] {
                let next = stage.turn(message: .resumeAccepting)
                let token = try #require(stage.delegate.lastOpened)
                #expect(next == [.attach(parked, token), .receive(token)])
                stage.abort(token)
                stage.turn((token, .closed))
            }
        }
    }

    // MARK: Handing over

    /// All peers have one host, so that `sourceHash` picks one loop for all.
    @Test("a loop that takes nothing has 64 connections, and the others the rest")
    func heldUpLoop() throws {
        try withStage(handsTo: 3, .sourceHash) { stage in
            let listener = try stage.startAccepting()
            func accept(_ count: Int) throws {
                for _ in 0..<count {
                    let descriptor = try stage.makeDescriptor()
                    #expect(stage.turn((listener, .accepted(descriptor))) == [])
                }
            }
            try accept(64)
            #expect(stage.others.map(\.load).sorted() == [0, 0, 64])
            #expect(stage.remote.counters.balancerFallBacks.current == 0)
            // Each goes to the least loaded of the other loops.
            try accept(100)
            #expect(stage.others.map(\.load).sorted() == [50, 50, 64])
            #expect(stage.remote.counters.balancerFallBacks.current == 100)
            #expect(stage.remote.counters.acceptorWaits.current == 0)
            // Until all other loops have 64.
            try accept(27)
            let last = stage.turn((listener, .accepted(try stage.makeDescriptor())))
            #expect(last == [.stop(.accept, listener)])
            #expect(stage.others.map(\.load) == [64, 64, 64])
            #expect(stage.remote.counters.acceptorWaits.current == 1)
        }
    }

    // MARK: Slots

    @Test("a stream from elsewhere that finds no slot is refused, and stays its owner's")
    func noSlotToAdopt() throws {
        var configuration = LoopConfiguration()
        configuration.slotLimit = 256
        try withStage(configuration) { stage in
            for _ in 0..<256 { _ = try stage.open() }
            let descriptor = try stage.makeDescriptor()
            let outcome = Monitor<String?>(nil)
            let requests = stage.turn(
                message: .run { loop in
                    do throws(SystemError) {
                        try loop.adopt(descriptor)
                        outcome.withLock { $0 = "adopted" }
                    } catch {
                        outcome.withLock { $0 = error.name }
                    }
                })
            #expect(requests == [])
            #expect(outcome.withLock { $0 } == "ENOBUFS")
            #expect(stage.isOpen(descriptor))
            #expect(stage.owner.alive == 256)
            #expect(stage.owner.take() == [.other("slotsExhausted(loop: 0)")])
            stage.sockets.discard(descriptor)
        }
    }

    // MARK: Stopping

    @Test("a stop serves who was accepted before its answer and who waits in the backlog")
    func stop() throws {
        try withStage { stage in
            let listener = try stage.startAccepting()
            let (early, late) = (try stage.makeDescriptor(), try stage.makeDescriptor())
            stage.connectPeer()
            #expect(stage.stopAccepting() == [.stop(.accept, listener)])
            let accepted = stage.turn((listener, .accepted(early)))
            let first = try #require(stage.delegate.lastOpened)
            #expect(accepted == [.attach(early, first), .receive(first)])

            let stopped = stage.turn((listener, .stopped(.accept)))
            let second = try #require(stage.delegate.lastOpened)
            #expect(second != first)
            #expect(stopped.suffix(2) == [.receive(second), .close(listener)])

            #expect(stage.turn((listener, .accepted(late))) == [])
            #expect(!stage.isOpen(late))
            #expect(stage.owner.take() == [])
            #expect(stage.turn((listener, .closed)) == [])
            #expect(stage.owner.take() == [.acceptingStopped])
            #expect(stage.owner.alive == 2)
        }
    }

    @Test("callbacks that use up the time of a stop do not reset the clients in the backlog")
    func stopHeldUp() throws {
        try withStage { stage in
            let listener = try stage.startAccepting()
            let token = try stage.open()
            for _ in 0..<40 { stage.connectPeer() }
            stage.delegate.onTraffic = { _, _, _ in stage.driver.now += .milliseconds(1_500) }
            stage.stopAccepting()
            stage.turn((token, .received([1])), (listener, .stopped(.accept)))
            for _ in 0..<3 { stage.turn() }
            stage.turn((listener, .closed))
            #expect(stage.remote.counters.opened.current == 41)
            #expect(stage.owner.take().last == .acceptingStopped)
        }
    }

    @Test("a stop of a full server serves who was parked, limit or not")
    func stopWhileFull() throws {
        try withStage { stage in
            let (listener, descriptors) = try fill(stage, of: 2)
            // The stop in progress also answers this one.
            #expect(stage.stopAccepting() == [])
            let stopped = stage.turn((listener, .stopped(.accept)))
            let token = try #require(stage.delegate.lastOpened)
            #expect(
                stopped == [
                    .attach(descriptors[1], token), .receive(token), .close(listener),
                ])
        }
    }

    @Test("an accept that fails while it is being stopped is the stop's answer")
    func failureWhileStopping() throws {
        try withStage { stage in
            let listener = try stage.startAccepting()
            stage.stopAccepting()
            #expect(stage.turn((listener, failure(EMFILE))) == [.close(listener)])
            #expect(stage.owner.take() == [])
            stage.stopAccepting()
            #expect(stage.turn((listener, .closed)) == [])
            #expect(stage.owner.take() == [.acceptingStopped])
        }
    }

    /// Accepts two of `count` descriptors: the first is served, which fills the server, and the
    /// second is parked.
    private func fill(
        _ stage: Stage, of count: Int
    ) throws -> (listener: Token, descriptors: [Descriptor]) {
        let listener = try stage.startAccepting()
        stage.owner.limit = 1
        let descriptors = try (0..<count).map { _ in try stage.makeDescriptor() }
        stage.turn((listener, .accepted(descriptors[0])), (listener, .accepted(descriptors[1])))
        return (listener, descriptors)
    }
}
