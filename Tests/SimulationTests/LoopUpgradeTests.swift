import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Connections that get a filter while they are open.
@Suite struct LoopUpgradeTests {
    @Test("bytes before an upgrade go out as they are, those after it sealed, in order")
    func order() throws {
        try withUpgrade { upgrade in
            upgrade.request(answer: [7, 7])
            let early = upgrade.secured.stage.write([1], to: upgrade.token)
            // The answer is in flight, and what follows waits for the handshake.
            #expect(early == [])
            upgrade.finishSends()
            #expect(upgrade.secured.takePlain() == [7, 7])
            upgrade.receive(upgrade.record(.hello))
            upgrade.finishSends()
            #expect(upgrade.told == 0)
            upgrade.receive(upgrade.record(.finished) + upgrade.record(.data, [2]))
            upgrade.finishSends()
            #expect(upgrade.told == 1)
            #expect(upgrade.secured.sent.plain == [1, 8])
            #expect(upgrade.delegateTold == [.traffic([0]), .traffic([2])])
            upgrade.secured.noteSends(upgrade.secured.stage.close(upgrade.token))
            upgrade.finishSends()
            #expect(upgrade.secured.sent.hasEnded)
            #expect(upgrade.delegateTold == [.closed("local")])
        }
    }

    @Test("a reply in flight keeps its account, and its promise is kept before the handshake")
    func promiseBefore() throws {
        try withUpgrade { upgrade in
            let kept = Monitor(0)
            upgrade.stage.turn(upgrade.token) { loop, connection in
                [UInt8](repeating: 4, count: 10).withUnsafeBytes {
                    loop.write(connection, $0) { cause in
                        kept.withLock { $0 += cause == nil ? 1 : 100 }
                    }
                }
            }
            upgrade.request(answer: [])
            upgrade.receive(upgrade.record(.hello))
            upgrade.turn(.sent(9))
            #expect(kept.withLock { $0 } == 0)
            // With what the filter has sent behind it.
            let requests = upgrade.turn(.sent(1))
            guard case .send(let bytes, _) = requests.last else {
                throw Stage.Unexpected(requests: requests)
            }
            upgrade.turn(.sent(bytes.count))
            #expect(kept.withLock { $0 } == 1)
        }
    }

    @Test("an upgrade with unread bytes is refused, and the connection stays as it was")
    func unread() throws {
        try withUpgrade { upgrade in
            upgrade.stage.pause(upgrade.token)
            upgrade.turn(.received([1, 2, 3]))
            #expect(upgrade.start() == .unread(3))
            upgrade.stage.resume(upgrade.token)
            upgrade.turn()
            #expect(upgrade.delegateTold == [.traffic([1, 2, 3])])
            #expect(upgrade.start() == nil)
            #expect(upgrade.start() == .secured)
        }
    }

    @Test("an upgrade is refused after the end of either side, in a pipe, and with a file to send")
    func refusals() throws {
        try withUpgrade { upgrade in
            upgrade.stage.shutdownWrite(upgrade.token)
            #expect(upgrade.start() == .ended)
        }
        var configuration = LoopConfiguration()
        configuration.allowHalfClosure = true
        try withUpgrade(configuration) { upgrade in
            upgrade.turn(.endOfStream)
            #expect(upgrade.start() == .ended)
        }
        try withUpgrade { upgrade in
            let other = try upgrade.stage.open()
            upgrade.stage.turn(upgrade.token) { loop, connection in
                if let other = loop.find(other) { loop.pipe(connection, to: other) }
            }
            #expect(upgrade.start() == .piped)
            #expect(upgrade.start(other) == .piped)
        }
    }

    @Test("our own handshake begins at once, and bytes written before it precede it")
    func ownSide() throws {
        try withUpgrade { upgrade in
            #expect(upgrade.start(isOwn: true, writing: [3]) == nil)
            upgrade.finishSends()
            #expect(upgrade.secured.takePlain() == [3] + SimulatedRecords().hello)
            upgrade.receive(upgrade.record(.hello))
            #expect(upgrade.told == 1)
        }
    }

    @Test("wake-ups, and input that came with the handshake's end, are told when it is over")
    func rest() throws {
        try withUpgrade { upgrade in
            #expect(upgrade.start() == nil)
            upgrade.stage.turn(upgrade.token) { $0.wake($1) }
            upgrade.receive(upgrade.record(.hello))
            #expect(upgrade.delegateTold == [])
            upgrade.receive(upgrade.record(.finished))
            upgrade.turn()
            #expect(upgrade.told == 1)
            #expect(upgrade.delegateTold == [.traffic([])])
        }
    }

    @Test("a pause of the handler does not hold the handshake, but what comes behind it")
    func pause() throws {
        try withUpgrade { upgrade in
            upgrade.stage.pause(upgrade.token)
            #expect(upgrade.start() == nil)
            upgrade.receive(upgrade.record(.hello))
            upgrade.receive(upgrade.record(.finished) + upgrade.record(.data, [5]))
            #expect(upgrade.told == 1)
            #expect(upgrade.delegateTold == [])
            upgrade.stage.resume(upgrade.token)
            upgrade.turn()
            #expect(upgrade.delegateTold == [.traffic([5])])
        }
    }

    @Test("the end of our side waits for the handshake, and is sealed")
    func endMeanwhile() throws {
        try withUpgrade { upgrade in
            #expect(upgrade.start() == nil)
            #expect(upgrade.stage.shutdownWrite(upgrade.token) == [])
            upgrade.receive(upgrade.record(.hello))
            upgrade.finishSends()
            upgrade.receive(upgrade.record(.finished))
            upgrade.finishSends()
            #expect(upgrade.secured.sent.hasEnded)
            #expect(upgrade.told == 1)
        }
    }

    @Test("bytes of a pause that were read outside a callback do not keep the handshake unread")
    func readInAPause() throws {
        try withUpgrade { upgrade in
            upgrade.stage.pause(upgrade.token)
            upgrade.turn(.received([1, 2, 3]))
            upgrade.stage.turn(upgrade.token) { loop, connection in _ = loop.takeAll(connection) }
            upgrade.turn(.stopped(.receive))
            upgrade.stage.resume(upgrade.token)
            upgrade.stage.pause(upgrade.token)
            #expect(upgrade.start() == nil)
            let requests = upgrade.turn() + upgrade.turn()
            upgrade.receive(upgrade.record(.hello))
            #expect(upgrade.secured.wireCount > 0, "\(requests)")
        }
    }

    @Test("an upgrade has one deadline, whatever trickles in, and then a reset")
    func deadline() throws {
        var plan = SimulatedFilters.Plan()
        plan.handshakeTimeout = .milliseconds(300)
        try withUpgrade(filters: plan) { upgrade in
            #expect(upgrade.start() == nil)
            var requests: [Stage.Request] = []
            for byte in upgrade.record(.hello, [UInt8](repeating: 7, count: 500)).prefix(40)
            where !requests.contains(.close(upgrade.token)) {
                requests += upgrade.turn(after: .milliseconds(10), .received([byte]))
                requests += upgrade.turn()
            }
            #expect(requests.last == .close(upgrade.token))
            #expect(upgrade.delegateTold == [.closed("timeout")])
            #expect(upgrade.told == 0)
            #expect(upgrade.stage.loop.remote.counters.handshakeFailures.current == 1)
        }
    }

    enum End: CaseIterable { case end, reset, refusal, abort, sendFails }

    @Test(
        "an upgrade that fails closes the connection once, with the cause",
        arguments: End.allCases)
    func failure(by end: End) throws {
        var plan = SimulatedFilters.Plan()
        plan.refusals = .always
        try withUpgrade(filters: plan) { upgrade in
            #expect(upgrade.start() == nil)
            upgrade.secured.noteSends(upgrade.stage.write([1], to: upgrade.token))
            switch end {
            case .end: upgrade.turn(.endOfStream)
            case .reset: upgrade.turn(.failed(.receive, SystemError(ECONNRESET, "recv")))
            case .refusal:
                upgrade.receive(upgrade.record(.hello))
                upgrade.finishSends()
                #expect(upgrade.secured.sent.hasFailed)
            case .abort: upgrade.stage.abort(upgrade.token)
            case .sendFails:
                upgrade.receive(upgrade.record(.hello))
                upgrade.turn(.failed(.send, SystemError(EPIPE, "send")))
            }
            upgrade.turn()
            upgrade.turn()
            let told = upgrade.delegateTold
            #expect(told.count == 1)
            let cause =
                switch end {
                case .end, .refusal, .sendFails: "filter"
                case .reset: "reset ECONNRESET"
                case .abort: "local"
                }
            if case .closed(let text) = told.first {
                #expect(text.hasPrefix(cause), "\(text)")
            }
            #expect(upgrade.told == 0)
        }
    }

    @Test("a close during an upgrade still sends what was written, and ends the stream")
    func closeMeanwhile() throws {
        try withUpgrade { upgrade in
            #expect(upgrade.start() == nil)
            upgrade.stage.write([1, 2], to: upgrade.token)
            upgrade.stage.close(upgrade.token)
            upgrade.receive(upgrade.record(.hello))
            upgrade.finishSends()
            upgrade.receive(upgrade.record(.finished))
            upgrade.finishSends()
            #expect(upgrade.secured.sent.plain == [1, 2])
            #expect(upgrade.secured.sent.hasEnded)
            #expect(upgrade.told == 0)
            #expect(upgrade.delegateTold == [.closed("local")])
        }
    }

    @Test("upgrades wait their turn with the other handshakes")
    func turns() throws {
        var plan = SimulatedFilters.Plan()
        plan.handshakesAtOnce = 1
        try withUpgrade(filters: plan) { upgrade in
            let (first, _) = try upgrade.secured.accept()
            upgrade.secured.turn((first, .received(SimulatedRecords().hello)))
            _ = upgrade.secured.takePlain()
            #expect(upgrade.start() == nil)
            upgrade.receive(upgrade.record(.hello))
            #expect(upgrade.secured.wireCount == 0)
            #expect(upgrade.delegateTold == [])
            upgrade.secured.turn((first, .endOfStream))
            upgrade.turn()
            #expect(upgrade.secured.wireCount > 0)
        }
    }
}

/// An open connection without a filter, and the peer's part of its upgrade.
private final class Upgrade {
    let secured: SecuredStage
    let token: Token
    private let count = Monitor(0)

    init(_ secured: SecuredStage) throws {
        self.secured = secured
        token = try secured.stage.open()
    }

    var stage: Stage { secured.stage }
    /// The number of times that the end of the handshake was told.
    var told: Int { count.withLock { $0 } }
    var delegateTold: [RecordingDelegate.Told] { stage.delegate.take(token) }

    func record(_ kind: SimulatedRecords.Kind, _ bytes: [UInt8] = []) -> [UInt8] {
        secured.record(kind, bytes)
    }

    @discardableResult
    func turn(after delay: Nanoseconds = 0, _ event: QueuedEvent? = nil) -> [Stage.Request] {
        guard let event else { return secured.turn(after: delay) }
        return secured.turn(after: delay, (token, event))
    }

    func receive(_ bytes: [UInt8]) { turn(.received(bytes)) }
    func finishSends() { secured.finishSends(of: token) }

    /// Delivers the peer's request for the upgrade. The handler answers it and begins the upgrade.
    func request(answer: [UInt8]) {
        stage.delegate.onTraffic = { [filters = secured.filters, count] loop, connection, _ in
            loop.write(connection, answer)
            let refusal = Self.begin(loop, connection, filters, false, count, writes: [8])
            #expect(refusal == nil)
        }
        receive([0])
        stage.delegate.onTraffic = nil
    }

    /// Begins the upgrade outside a callback. Returns the refusal.
    func start(
        _ other: Token? = nil, isOwn: Bool = false, writing bytes: [UInt8] = []
    ) -> UpgradeRefusal? {
        let refusal = Monitor<UpgradeRefusal?>(nil)
        let filters = secured.filters
        let requests = stage.turn(other ?? token) { [count] loop, connection in
            if !bytes.isEmpty { loop.write(connection, bytes) }
            let result = Self.begin(loop, connection, filters, isOwn, count)
            refusal.withLock { $0 = result }
        }
        secured.noteSends(requests)
        return refusal.withLock { $0 }
    }

    private static func begin(
        _ loop: Loop, _ connection: ConnectionReference, _ filters: SimulatedFilters, _ isOwn: Bool,
        _ count: Monitor<Int>, writes bytes: [UInt8] = []
    ) -> UpgradeRefusal? {
        do throws(UpgradeRefusal) {
            try loop.upgrade(connection, by: filters, isOwn: isOwn) {
                let peer = FilterPeer(name: "a", address: .unix("", abstract: false))
                return isOwn ? filters.connecting(to: peer, on: 0) : filters.accepting(on: 0)
            } secured: {
                count.withLock { $0 += 1 }
                if !bytes.isEmpty { loop.write(connection, bytes) }
            }
            return nil
        } catch {
            return error
        }
    }
}

private func withUpgrade(
    _ configuration: LoopConfiguration = LoopConfiguration(),
    filters plan: SimulatedFilters.Plan = SimulatedFilters.Plan(), _ body: (Upgrade) throws -> Void
) throws {
    try withSecuredStage(configuration, filters: plan) { try body(try Upgrade($0)) }
}
