import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Outgoing connects when the kernel is slow, fails or answers too late.
@Suite struct LoopConnectTests {
    private let retry = Nanoseconds.milliseconds(5)

    /// Starts a connect, by default to the stage's listener. If `isEstablished`, getpeername(2)
    /// finds a peer.
    private func connect(
        _ stage: Stage, within timeout: Nanoseconds, isEstablished: Bool = false,
        to other: SocketAddress? = nil, _ outcomes: Monitor<[String]>
    ) throws -> Token {
        let address = other ?? stage.listener.address
        let requests = stage.turn(
            message: .run { loop in
                loop.connect(to: address, isDatagram: false, timeout: timeout) { result in
                    let outcome =
                        switch result {
                        case .success: "connected"
                        case .failure(let error): errorName(error)
                        }
                    outcomes.withLock { $0.append(outcome) }
                }
            })
        guard requests.count == 2, case .attach(let descriptor, let token) = requests[0] else {
            throw Stage.Unexpected(requests: requests)
        }
        if isEstablished { stage.network.establish(descriptor, with: address) }
        guard case .connect(_, token) = requests[1] else {
            throw Stage.Unexpected(requests: requests)
        }
        return token
    }

    private func isConnect(_ requests: [Stage.Request], _ token: Token) -> Bool {
        guard requests.count == 1, case .connect(_, token) = requests[0] else { return false }
        return true
    }

    @Test("a full backlog is tried again every 5 ms until the time is up, and told once")
    func fullBacklog() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            let token = try connect(stage, within: .milliseconds(12), outcomes)
            let refusal = QueuedEvent.failed(.connect, SystemError(EAGAIN, "connect"))
            for _ in 0..<2 {
                #expect(stage.turn((token, refusal)) == [])
                #expect(stage.turn(after: retry - 1) == [])
                #expect(stage.turn() == [])
                stage.turn(after: 1)
                let again = stage.turn()
                #expect(isConnect(again, token))
            }
            #expect(stage.turn((token, refusal)) == [])
            #expect(stage.turn() == [])
            #expect(stage.lastWait == .milliseconds(2))
            stage.turn(after: .milliseconds(2))
            // The connect is not retried, although a retry would be due before the second look.
            #expect(stage.secondLook() == [.close(token)])
            #expect(stage.turn((token, .closed)) == [])
            #expect(outcomes.withLock { $0 } == ["ETIMEDOUT"])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.loop.slotsInUse == 0)
        }
    }

    @Test("a success that comes when the time was up opens nothing")
    func lateSuccess() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            let token = try connect(stage, within: .milliseconds(10), outcomes)
            stage.turn(after: .milliseconds(10))
            #expect(stage.secondLook() == [.close(token)])
            let late = stage.turn(
                (token, .connected), (token, .failed(.connect, SystemError(ECANCELED, "connect"))))
            #expect(late == [])
            #expect(outcomes.withLock { $0 } == ["ETIMEDOUT"])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.loop.slotsInUse == 1)
        }
    }

    @Test("a success tells who asked, then the handler, and ends the connect's deadline")
    func success() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            let token = try connect(
                stage, within: .milliseconds(10), isEstablished: true, outcomes)
            let heard = Monitor<[String]>([])
            stage.delegate.onOpened = { _, _ in heard.withLock { $0 = outcomes.withLock { $0 } } }
            #expect(stage.turn((token, .connected)) == [.receive(token)])
            #expect(heard.withLock { $0 } == ["connected"])
            stage.turn(after: .milliseconds(10), (token, .received([1])))
            #expect(stage.turn() == [])
            #expect(stage.delegate.take(token) == [.opened, .traffic([1])])
            #expect(outcomes.withLock { $0 } == ["connected"])
        }
    }

    @Test("a success of an IP socket that has no peer is a connection that was reset at once")
    func resetAtOnce() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            let token = try connect(stage, within: .milliseconds(1_000), outcomes)
            #expect(stage.turn((token, .connected)) == [.close(token)])
            #expect(outcomes.withLock { $0 } == ["ECONNRESET"])
        }
    }

    @Test("a success of a Unix socket that has no peer is a connect that had not begun")
    func successWithoutPeer() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            let token = try connect(
                stage, within: .milliseconds(1_000), to: .unix("/there", abstract: false), outcomes)
            #expect(stage.turn((token, .connected)) == [])
            #expect(outcomes.withLock { $0 } == [])
            stage.turn(after: retry)
            let again = stage.turn()
            #expect(isConnect(again, token))
            let refusal = QueuedEvent.failed(.connect, SystemError(ECONNREFUSED, "connect"))
            #expect(stage.turn((token, refusal)) == [.close(token)])
            #expect(outcomes.withLock { $0 } == ["ECONNREFUSED"])
            // The deadline has no effect any more.
            stage.turn(after: .milliseconds(1_000))
            #expect(stage.turn() == [])
            #expect(outcomes.withLock { $0 } == ["ECONNREFUSED"])
        }
    }

    @Test("a stop ends a connect at once: who asked is told, no handler")
    func drain() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            let token = try connect(stage, within: .milliseconds(1_000), outcomes)
            #expect(
                stage.turn(message: .drain(within: .milliseconds(1_000))) == [.close(token)])
            #expect(outcomes.withLock { $0 } == ["ECANCELED"])
            #expect(stage.turn((token, .connected)) == [])
            #expect(stage.owner.take() == [])
            #expect(stage.turn((token, .closed)) == [])
            #expect(stage.owner.take() == [.drained])
            #expect(stage.delegate.take(token) == [])
        }
    }

    @Test("a driver that fails tells who asked, once, and frees the rest")
    func failedWait() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            let token = try connect(stage, within: .milliseconds(1_000), outcomes)
            stage.driver.waitError = SystemError(ENOMEM, "wait")
            #expect(stage.turn() == [.close(token)])
            #expect(outcomes.withLock { $0 } == ["ENOMEM"])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.loop.slotsInUse == 0)
        }
    }

    // MARK: The connection that has requested it

    @Test("a connection that waits for two connects is read after the second one's end")
    func twoConnects() throws {
        try withStage { stage in
            let token = try stage.open()
            let stop = stage.turn(token) { loop, connection in
                for _ in 0..<2 { loop.holdForConnect(connection) }
            }
            #expect(stop == [.stop(.receive, token)])
            let bytes = stage.turn((token, .received([1])), (token, .stopped(.receive)))
            #expect(bytes == [])
            #expect(stage.turn(token) { $0.otherCame($1) } == [])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.turn(token) { $0.otherCame($1) } == [.receive(token)])
            #expect(stage.delegate.take(token) == [.traffic([1])])
        }
    }

    // MARK: The loop's end

    /// The request to end overtakes the connects, which the loop then finds in its mailbox.
    @Test("connects that are posted in the moment of the loop's end are reported once")
    func loopEnds() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            stage.turn(message: .drain(within: 0))
            #expect(stage.owner.take() == [.drained])
            for port: UInt16 in [0, 1] {
                _ = stage.remote.run { loop in
                    loop.connect(
                        to: .v4(IPv4Bytes(0), port: port), isDatagram: false, timeout: 1_000
                    ) { result in
                        guard case .failure(let error) = result else { return }
                        outcomes.withLock { $0.append(errorName(error)) }
                    }
                }
            }
            stage.remote.postFirst(.end)
            stage.turn()
            #expect(outcomes.withLock { $0 } == ["EADDRNOTAVAIL", "ECANCELED"])
            #expect(!stage.remote.run { _ in })
        }
    }
}
