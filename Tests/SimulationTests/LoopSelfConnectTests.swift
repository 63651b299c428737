import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// A socket that is assigned the port that it connects to is connected to itself.
@Suite struct LoopSelfConnectTests {
    /// Returns the descriptor and the token of a requested connect.
    private func connecting(_ requests: ArraySlice<Stage.Request>) throws -> (Descriptor, Token) {
        guard requests.count == 2, case .attach(let descriptor, let token)? = requests.first,
            case .connect(_, token)? = requests.last
        else { throw Stage.Unexpected(requests: Array(requests)) }
        return (descriptor, token)
    }

    private func connect(
        _ stage: Stage, as name: ConnectName? = nil, _ outcomes: Monitor<[String]>
    ) throws -> (Descriptor, Token) {
        let address = stage.listener.address
        let requests = stage.turn(
            message: .run { loop in
                loop.connect(
                    to: address, isDatagram: false, timeout: .milliseconds(100), as: name
                ) {
                    let outcome =
                        switch $0 {
                        case .success: "connected"
                        case .failure(let error): errorName(error)
                        }
                    outcomes.withLock { $0.append(outcome) }
                }
            })
        return try connecting(requests[...])
    }

    @Test("it is tried again with other sockets, and in the end refused")
    func refused() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            var (descriptor, token) = try connect(stage, outcomes)
            for _ in 0..<2 {
                stage.network.establishWithItself(descriptor, at: stage.listener.address)
                let requests = stage.turn((token, .connected))
                #expect(requests.first == .close(token))
                #expect(stage.network.resetsOnClose(descriptor))
                #expect(outcomes.withLock { $0 } == [])
                #expect(stage.turn((token, .closed)) == [])
                (descriptor, token) = try connecting(requests.dropFirst())
            }
            stage.network.establishWithItself(descriptor, at: stage.listener.address)
            #expect(stage.turn((token, .connected)) == [.close(token)])
            #expect(outcomes.withLock { $0 } == ["ECONNREFUSED"])
            #expect(stage.turn((token, .closed)) == [])
            #expect(stage.loop.slotsInUse == 0)
        }
    }

    @Test("another socket that reaches somebody is the connection that was asked for")
    func reached() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            let (first, token) = try connect(stage, outcomes)
            stage.network.establishWithItself(first, at: stage.listener.address)
            let requests = stage.turn((token, .connected))
            let (second, other) = try connecting(requests.dropFirst())
            stage.network.establish(second, with: stage.listener.address)
            #expect(stage.turn((token, .closed), (other, .connected)) == [.receive(other)])
            #expect(outcomes.withLock { $0 } == ["connected"])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.delegate.take(other) == [.opened])
        }
    }

    @Test("one that is given up at its second socket is given up")
    func givenUpLater() throws {
        try withStage { stage in
            let (outcomes, name) = (Monitor<[String]>([]), ConnectName())
            let (first, token) = try connect(stage, as: name, outcomes)
            stage.network.establishWithItself(first, at: stage.listener.address)
            let requests = stage.turn((token, .connected))
            let (second, other) = try connecting(requests.dropFirst())
            stage.turn((token, .closed))
            name.giveUp()
            #expect(stage.turn() == [.close(other)])
            #expect(outcomes.withLock { $0 } == ["ECANCELED"])
            stage.network.establish(second, with: stage.listener.address)
            #expect(stage.turn((other, .connected)) == [])
            #expect(stage.turn((other, .closed)) == [])
            #expect(stage.delegate.take(other) == [])
            #expect(stage.loop.slotsInUse == 0)
        }
    }

    /// The loop sees a success, or a connection to itself, before it handles the give-up message.
    @Test("nothing comes of one that was given up, also before its loop has heard of it")
    func givenUpMeanwhile() throws {
        for isItself in [false, true] {
            try withStage { stage in
                let (outcomes, name) = (Monitor<[String]>([]), ConnectName())
                let (descriptor, token) = try connect(stage, as: name, outcomes)
                let address = stage.listener.address
                if isItself {
                    stage.network.establishWithItself(descriptor, at: address)
                } else {
                    stage.network.establish(descriptor, with: address)
                }
                // More messages than one turn handles, ahead of the give-up message.
                for _ in 0..<300 { _ = stage.remote.run { _ in } }
                name.giveUp()
                #expect(stage.turn((token, .connected)) == [.close(token)])
                #expect(outcomes.withLock { $0.count } == 1)
                #expect(stage.delegate.take(token) == [])
                stage.turn((token, .closed))
                #expect(stage.loop.slotsInUse == 0)
            }
        }
    }

    @Test("one that was given up before it began is told so from the loop")
    func givenUpBefore() throws {
        try withStage { stage in
            let (outcomes, name) = (Monitor<[String]>([]), ConnectName())
            name.giveUp()
            let (_, token) = try connect(stage, as: name, outcomes)
            #expect(outcomes.withLock { $0 } == [])
            #expect(stage.turn() == [.close(token)])
            #expect(outcomes.withLock { $0 } == ["ECANCELED"])
            stage.turn((token, .closed))
        }
    }

    @Test("port 0 is refused at once, since a datagram socket would wait for nobody")
    func portZero() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            let requests = stage.turn(
                message: .run { loop in
                    let address = SocketAddress.v4(IPv4Bytes(1), port: 0)
                    loop.connect(to: address, isDatagram: true, timeout: .milliseconds(100)) {
                        if case .failure(let error) = $0 {
                            outcomes.withLock { $0.append(errorName(error)) }
                        }
                    }
                })
            #expect(requests == [])
            stage.turn()
            #expect(outcomes.withLock { $0 } == ["EADDRNOTAVAIL"])
        }
    }
}
