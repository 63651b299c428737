import MillraceSimulation
import Testing

@testable import MillraceEventLoop

/// Listeners that begin and end while a loop runs.
@Suite struct LoopListenTests {
    /// Binds another socket, which the loop does not know yet.
    private func bind(_ stage: Stage, place: Int) throws -> BoundListener {
        var bound = try stage.sockets.listen(on: .v4(IPv4Bytes(0), port: 0), ListenOptions())
        bound.place = place
        return bound
    }

    private func listen(_ stage: Stage, _ bound: BoundListener) -> [Stage.Request] {
        stage.turn(message: .run { $0.listen(bound, spreads: false) })
    }

    @discardableResult
    private func stopListening(_ stage: Stage, _ place: Int) -> [Stage.Request] {
        stage.turn(message: .run { $0.stopListening(place) })
    }

    /// Returns the token of a listener that the loop was given, from its requests.
    private func token(_ requests: [Stage.Request], _ bound: BoundListener) throws -> Token {
        guard case .attach(bound.descriptor, let token) = requests.first else {
            throw Stage.Unexpected(requests: requests)
        }
        #expect(requests == [.attach(bound.descriptor, token), .accept(token)])
        return token
    }

    @Test("a running loop accepts on an added socket, beside its first one")
    func adds() throws {
        try withStage { stage in
            let first = try stage.startAccepting()
            let bound = try bind(stage, place: 7)
            let added = try token(listen(stage, bound), bound)
            #expect(added != first)
            for listener in [added, first] {
                stage.turn((listener, .accepted(try stage.makeDescriptor())))
                let opened = try #require(stage.delegate.lastOpened)
                #expect(stage.delegate.take(opened) == [.opened])
            }
        }
    }

    @Test("a loop that is stopping closes an added socket and reports it")
    func addsWhileStopping() throws {
        try withStage { stage in
            let first = try stage.startAccepting()
            stage.stopAccepting()
            let bound = try bind(stage, place: 7)
            #expect(listen(stage, bound) == [])
            #expect(!stage.isOpen(bound.descriptor))
            #expect(stage.owner.closedPlaces == [7])
            stage.turn((first, .stopped(.accept)))
            stage.turn((first, .closed))
            #expect(stage.owner.take() == [.acceptingStopped])
            #expect(stage.owner.closedPlaces == [7, 0])
        }
    }

    @Test("a listener that ends serves its backlog and closes, and the loop goes on")
    func ends() throws {
        try withStage { stage in
            let first = try stage.startAccepting()
            stage.connectPeer()
            #expect(stopListening(stage, 0) == [.stop(.accept, first)])
            let requests = stage.turn((first, .stopped(.accept)))
            let served = try #require(stage.delegate.lastOpened)
            #expect(stage.delegate.take(served) == [.opened])
            #expect(requests.contains(.close(first)) || stage.turn().contains(.close(first)))
            #expect(stage.turn((first, .closed)) == [])
            #expect(stage.owner.closedPlaces == [0])
            // The server as a whole does not stop.
            #expect(stage.owner.take() == [])
            #expect(!stage.loop.isStopping)
            stage.turn((served, .received(Array("more".utf8))))
            #expect(stage.delegate.take(served).isEmpty == false)
            // A stop finds no listener.
            stage.stopAccepting()
            #expect(stage.owner.take() == [.acceptingStopped])
            #expect(stage.loop.isStopping)
        }
    }

    @Test("an added socket gets the place of one that has closed")
    func reuses() throws {
        try withStage { stage in
            var last = try stage.startAccepting()
            for place in 1...50 {
                stopListening(stage, place - 1)
                stage.turn((last, .stopped(.accept)))
                stage.turn((last, .closed))
                let bound = try bind(stage, place: place)
                last = try token(listen(stage, bound), bound)
                stage.turn((last, .accepted(try stage.makeDescriptor())))
                let opened = try #require(stage.delegate.lastOpened)
                #expect(stage.delegate.take(opened) == [.opened])
            }
            #expect(stage.owner.closedPlaces == Array(0..<50))
            #expect(stage.loop.acceptor.indices.count == 1)
        }
    }

    /// Messages to a loop that is behind do not keep their order.
    @Test("an end that overtakes the beginning still ends the address")
    func endsFirst() throws {
        try withStage { stage in
            _ = try stage.startAccepting()
            let bound = try bind(stage, place: 7)
            stage.owner.ending = 7
            #expect(stopListening(stage, 7) == [])
            _ = stage.network.connect(to: bound.address)
            stage.network.runDue()
            _ = listen(stage, bound)
            stage.turn()
            let served = try #require(stage.delegate.lastOpened)
            #expect(stage.delegate.take(served) == [.opened])
            stage.turn()
            #expect(stage.owner.closedPlaces == [7])
            #expect(!stage.isOpen(bound.descriptor))
        }
    }

    @Test("a second request to end is without effect, and one for an unknown address")
    func endsOnce() throws {
        try withStage { stage in
            let first = try stage.startAccepting()
            #expect(stopListening(stage, 9) == [])
            #expect(stopListening(stage, 0) == [.stop(.accept, first)])
            #expect(stopListening(stage, 0) == [])
            stage.turn((first, .stopped(.accept)))
            stage.turn((first, .closed))
            #expect(stopListening(stage, 0) == [])
            #expect(stage.owner.closedPlaces == [0])
        }
    }

    @Test("without a slot for it, an added listener waits and tries again")
    func waitsForASlot() throws {
        var configuration = LoopConfiguration()
        configuration.slotLimit = 256
        try withStage(configuration) { stage in
            _ = try stage.startAccepting()
            let connection = try stage.open()
            for _ in 2..<256 { _ = try stage.open() }
            let bound = try bind(stage, place: 1)
            #expect(listen(stage, bound) == [])
            stage.abort(connection)
            // The slot that becomes free is taken at once, and the timer does nothing more.
            let requests =
                stage.turn((connection, .closed)) + stage.turn(after: .milliseconds(20))
                + stage.turn()
            let attached = requests.compactMap { request in
                if case .attach(bound.descriptor, let token) = request { token } else { nil }
            }
            #expect(attached.count == 1)
        }
    }

    @Test("a stop closes a listener that waits for a slot")
    func stopsWithoutASlot() throws {
        var configuration = LoopConfiguration()
        configuration.slotLimit = 256
        try withStage(configuration) { stage in
            _ = try stage.startAccepting()
            for _ in 1..<256 { _ = try stage.open() }
            let bound = try bind(stage, place: 1)
            #expect(listen(stage, bound) == [])
            stopListening(stage, 1)
            stage.turn()
            #expect(stage.owner.closedPlaces == [1])
            #expect(!stage.isOpen(bound.descriptor))
        }
    }

    /// A close with a linger time would block the loop. The simulated network has no time, only the
    /// reset that a time of 0 causes.
    @Test(
        "a socket accepted from an inherited listener has no linger time", arguments: [true, false])
    func inheritedLinger(isInherited: Bool) throws {
        try withStage { stage in
            let socket = try bind(stage, place: 7)
            let bound = BoundListener(
                descriptor: socket.descriptor, address: socket.address, isInherited: isInherited)
            let added = try token(listen(stage, bound), bound)
            let descriptor = try stage.makeDescriptor()
            try stage.sockets.set(.linger(reset: true), on: descriptor)
            stage.turn((added, .accepted(descriptor)))
            let opened = try #require(stage.delegate.lastOpened)
            stage.close(opened)
            stage.sockets.discard(descriptor)
            stage.peers[0].read()
            #expect(stage.peers[0].sawReset == !isInherited)
        }
    }
}
