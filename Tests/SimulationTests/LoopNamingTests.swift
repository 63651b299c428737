import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Connects by name on one loop, in virtual time: the sockets and timers of a race.
@Suite struct LoopNamingTests {
    /// A resolver that keeps its questions until the test answers.
    private final class ScriptedResolver: NameResolver {
        private let asked = Monitor<[(Lookup, LookupAnswer)]>([])

        func resolve(_ lookup: Lookup, _ answer: LookupAnswer) {
            asked.withLock { $0.append((lookup, answer)) }
        }

        var count: Int { asked.withLock { $0.count } }

        func isWanted(_ index: Int = 0) -> Bool { asked.withLock { $0[index].0.isWanted } }

        func give(_ found: LookupAnswer.Found, to index: Int = 0) {
            asked.withLock { $0[index].1 }.give(found)
        }

        func drop() { asked.withLock { $0 = [] } }
    }

    private struct Scene {
        let stage: Stage
        let resolver: ScriptedResolver
        let outcomes = Monitor<[String]>([])

        var told: [String] { outcomes.withLock { $0 } }

        /// Begins a connect by name with 1,000 ms.
        func connect(as name: ConnectName? = nil, secured: String? = nil) {
            let (outcomes, port) = (outcomes, stage.listener.address.port ?? 1)
            let target = NamedTarget(
                host: "peer.test", family: nil, port: port, securedName: secured)
            stage.turn(
                message: .run { loop in
                    loop.connect(to: target, timeout: .milliseconds(1000), as: name) { result in
                        let outcome =
                            switch result {
                            case .success: "connected"
                            case .failure(let failure as ConnectFailure): kind(failure)
                            case .failure(let error): errorName(error)
                            }
                        outcomes.withLock { $0.append(outcome) }
                    }
                })
        }

        /// Answers the lookup with this many addresses, and returns the first attempt's token.
        func resolve(_ count: Int) throws -> Token {
            resolver.give(.success(Array(LoopNamingTests.addresses.prefix(count))))
            return try attempt(in: stage.turn())
        }

        /// The token of an attempt that these requests begin.
        func attempt(in requests: [Stage.Request], isEstablished: Bool = false) throws -> Token {
            for case .attach(let descriptor, let token) in requests {
                if isEstablished { establish(descriptor) }
                return token
            }
            throw Stage.Unexpected(requests: requests)
        }

        func establish(_ descriptor: Descriptor) {
            stage.network.establish(descriptor, with: stage.listener.address)
        }
    }

    private static let addresses = (1...6).map {
        SocketAddress.v4(IPv4Bytes(UInt32($0).bigEndian), port: 0)
    }

    private static func kind(_ failure: ConnectFailure) -> String {
        switch failure {
        case .unresolved(let error): "unresolved: \(error)"
        case .noAddress: "no address"
        case .resolvingLate: "resolving late"
        case .unconnected(let reports, let untried, let isLate):
            "\(isLate ? "late" : "unconnected"): "
                + reports.map { $0.error?.name ?? "silent" }.joined(separator: " ")
                + ", \(untried) untried"
        case .unsecured(_, let error): "unsecured: \(errorName(error))"
        case .cancelled(let error): "cancelled: \(error.name)"
        }
    }

    private func withScene(
        _ filters: SimulatedFilters? = nil, _ body: (Scene) throws -> Void
    ) throws {
        let resolver = ScriptedResolver()
        var configuration = LoopConfiguration()
        configuration.resolver = resolver
        configuration.connectingFilters = filters
        try withStage(configuration) { try body(Scene(stage: $0, resolver: resolver)) }
    }

    private let refused = QueuedEvent.failed(.connect, SystemError(ECONNREFUSED, "connect"))

    @Test("a name is looked up without a socket, then one address is tried")
    func oneAddress() throws {
        try withScene { scene in
            scene.connect()
            #expect(scene.resolver.count == 1 && scene.stage.loop.slotsInUse == 0)
            #expect(scene.stage.turn() == [] && scene.stage.lastWait == .milliseconds(1000))
            scene.resolver.give(.success([Self.addresses[0]]))
            let requests = scene.stage.turn()
            let token = try scene.attempt(in: requests, isEstablished: true)
            #expect(scene.told == [])
            #expect(scene.stage.turn((token, .connected)) == [.receive(token)])
            #expect(scene.told == ["connected"] && !scene.resolver.isWanted())
            #expect(scene.stage.delegate.take(token) == [.opened])
            // Neither the delay nor the deadline has an effect any more.
            scene.stage.turn(after: .milliseconds(2000))
            #expect(scene.stage.turn() == [] && scene.told == ["connected"])
        }
    }

    @Test("addresses that do not answer are tried 250 ms apart, and the first that does wins")
    func race() throws {
        try withScene { scene in
            scene.connect()
            let first = try scene.resolve(3)
            #expect(scene.stage.turn() == [] && scene.stage.lastWait == .milliseconds(250))
            scene.stage.turn(after: .milliseconds(250))
            let second = try scene.attempt(in: scene.stage.turn(), isEstablished: true)
            scene.stage.turn(after: .milliseconds(250))
            let third = try scene.attempt(in: scene.stage.turn())
            #expect(scene.stage.loop.slotsInUse == 3)
            let requests = scene.stage.turn((second, .connected))
            #expect(requests == [.close(first), .close(third), .receive(second)])
            #expect(scene.told == ["connected"])
            // Both successes come too late.
            #expect(scene.stage.turn((first, .connected), (third, .connected)) == [])
            scene.stage.turn((first, .closed), (third, .closed))
            #expect(scene.stage.loop.slotsInUse == 1 && scene.told == ["connected"])
            #expect(scene.stage.delegate.take(first) == [])
            #expect(scene.stage.delegate.take(second) == [.opened])
        }
    }

    @Test("two sockets that are connected in the same turn: one wins")
    func sameTurn() throws {
        try withScene { scene in
            scene.connect()
            scene.resolver.give(.success(Array(Self.addresses.prefix(2))))
            let first = try scene.attempt(in: scene.stage.turn(), isEstablished: true)
            scene.stage.turn(after: .milliseconds(250))
            let second = try scene.attempt(in: scene.stage.turn(), isEstablished: true)
            let requests = scene.stage.turn((second, .connected), (first, .connected))
            #expect(requests == [.close(first), .receive(second)])
            #expect(scene.told == ["connected"])
        }
    }

    @Test("a refused address is followed at once, and the last refusal ends the connect")
    func refusals() throws {
        try withScene { scene in
            scene.connect()
            let first = try scene.resolve(2)
            let requests = scene.stage.turn((first, refused))
            let second = try scene.attempt(in: requests)
            #expect(requests.first == .close(first) || requests.last == .close(first))
            #expect(scene.told == [])
            scene.stage.turn((second, refused))
            #expect(scene.told == ["unconnected: ECONNREFUSED ECONNREFUSED, 0 untried"])
        }
    }

    @Test("one deadline covers the lookup and all attempts")
    func deadline() throws {
        try withScene { scene in
            scene.connect()
            scene.stage.turn(after: .milliseconds(900))
            let first = try scene.resolve(3)
            #expect(scene.stage.turn() == [] && scene.stage.lastWait == .milliseconds(100))
            scene.stage.turn(after: .milliseconds(100))
            #expect(scene.stage.secondLook() == [.close(first)])
            #expect(scene.told == ["late: silent, 2 untried"])
            scene.stage.turn((first, .closed))
            #expect(scene.stage.turn(after: .milliseconds(500)) == [])
            #expect(scene.stage.loop.slotsInUse == 0 && scene.told.count == 1)
        }
    }

    @Test("an attempt whose success lies behind a long turn wins after the deadline")
    func lateSuccess() throws {
        try withScene { scene in
            scene.connect()
            let first = try scene.resolve(3)
            let requests = scene.stage.turn(after: .milliseconds(300)) + scene.stage.turn()
            let second = try scene.attempt(in: requests, isEstablished: true)
            scene.stage.turn(after: .milliseconds(900))
            #expect(scene.stage.secondLook() == [.close(first)])
            #expect(scene.told == [])
            scene.stage.turn((second, .connected))
            #expect(scene.told == ["connected"])
        }
    }

    @Test("a lookup without an answer ends at the deadline, and its late answer is dropped")
    func lateAnswer() throws {
        try withScene { scene in
            scene.connect()
            scene.stage.turn(after: .milliseconds(1000))
            scene.stage.turn()
            #expect(scene.told == ["resolving late"] && !scene.resolver.isWanted())
            scene.resolver.give(.success(Self.addresses))
            #expect(scene.stage.turn() == [] && scene.told.count == 1)
        }
    }

    @Test("a resolver's second answer, an empty one and a dropped question each end once")
    func oddAnswers() throws {
        try withScene { scene in
            scene.connect()
            _ = try scene.resolve(1)
            scene.resolver.give(.success(Self.addresses))
            scene.resolver.give(.failure(SystemError(EIO, "x")))
            #expect(scene.stage.turn() == [])
            #expect(scene.told == [] && scene.stage.loop.slotsInUse == 1)
        }
        try withScene { scene in
            scene.connect()
            scene.resolver.give(.success([]))
            #expect(scene.stage.turn() == [] && scene.told == ["no address"])
        }
        try withScene { scene in
            scene.connect()
            scene.resolver.drop()
            scene.stage.turn()
            #expect(scene.told.count == 1 && scene.told[0].contains("has dropped the lookup"))
        }
    }

    @Test("a cancel while the lookup runs ends it, and during attempts closes their sockets")
    func cancels() throws {
        try withScene { scene in
            let name = ConnectName()
            scene.connect(as: name)
            name.giveUp()
            #expect(scene.stage.turn() == [] && scene.told == ["cancelled: ECANCELED"])
            #expect(!scene.resolver.isWanted())
        }
        try withScene { scene in
            let name = ConnectName()
            scene.connect(as: name)
            let first = try scene.resolve(2)
            scene.stage.turn(after: .milliseconds(250))
            let second = try scene.attempt(in: scene.stage.turn(), isEstablished: true)
            name.giveUp()
            // The loop sees the connected socket in the same turn, after the message.
            let requests = scene.stage.turn((second, .connected))
            #expect(requests == [.close(first), .close(second)])
            #expect(scene.told == ["cancelled: ECANCELED"])
        }
    }

    /// The cancel waits behind as many messages as a turn handles.
    @Test("a socket that is connected after the cancel, and before its message, ends the connect")
    func cancelBehindOthers() throws {
        try withScene { scene in
            let name = ConnectName()
            scene.connect(as: name)
            scene.resolver.give(.success(Array(Self.addresses.prefix(3))))
            let first = try scene.attempt(in: scene.stage.turn(), isEstablished: true)
            for _ in 0..<300 { scene.stage.remote.run { _ in } }
            name.giveUp()
            #expect(scene.stage.turn((first, .connected)) == [.close(first)])
            #expect(scene.told == ["cancelled: ECANCELED"])
            #expect(scene.stage.turn((first, .closed)) == [])
            #expect(scene.stage.turn(after: .milliseconds(250)) == [] && scene.stage.turn() == [])
            #expect(scene.told.count == 1 && scene.stage.loop.slotsInUse == 0)
        }
    }

    @Test("a cancel before the connect has begun ends it")
    func earlyCancel() throws {
        try withScene { scene in
            let name = ConnectName()
            name.giveUp()
            scene.connect(as: name)
            scene.stage.turn()
            #expect(scene.told == ["cancelled: ECANCELED"])
        }
    }

    @Test("a drain ends lookups and attempts at once, each told once, and then the loop")
    func drain() throws {
        try withScene { scene in
            scene.connect()
            let token = try scene.resolve(2)
            scene.connect()
            let requests = scene.stage.turn(message: .drain(within: .milliseconds(1000)))
            #expect(requests == [.close(token)])
            #expect(scene.told == ["cancelled: ECANCELED", "cancelled: ECANCELED"])
            scene.resolver.give(.success(Self.addresses), to: 1)
            #expect(scene.stage.turn((token, .closed)) == [])
            #expect(scene.stage.owner.take() == [.drained])
            scene.connect()
            scene.stage.turn()
            #expect(scene.told.count == 3 && scene.resolver.count == 2)
        }
    }

    @Test("a loop whose driver fails ends lookups and attempts, each told once")
    func failure() throws {
        let outcomes = Monitor<[String]>([])
        try withScene { scene in
            scene.connect()
            _ = try scene.resolve(3)
            scene.connect()
            scene.stage.driver.waitError = SystemError(EIO, "wait")
            scene.stage.turn()
            outcomes.withLock { $0 = scene.told }
        }
        #expect(outcomes.withLock { $0 } == ["cancelled: EIO", "cancelled: EIO"])
    }

    @Test("a socket that meets itself is replaced within its attempt")
    func selfConnect() throws {
        try withScene { scene in
            scene.connect()
            scene.resolver.give(.success([Self.addresses[0]]))
            let requests = scene.stage.turn()
            guard case .attach(let descriptor, let token)? = requests.first else {
                throw Stage.Unexpected(requests: requests)
            }
            scene.stage.network.establishWithItself(
                descriptor, at: scene.stage.listener.address)
            let next = scene.stage.turn((token, .connected))
            let second = try scene.attempt(in: next)
            #expect(scene.told == [] && second != token)
            #expect(scene.stage.turn((second, refused)) == [.close(second)])
            #expect(scene.told == ["unconnected: ECONNREFUSED, 0 untried"])
        }
    }
}
