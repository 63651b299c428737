import MillraceEventLoop
import MillraceSimulation
import Testing

/// A connection with a filter on a stage, from the peer's side: it makes the peer's records and
/// reads the loop's.
final class SecuredStage {
    let stage: Stage
    let filters: SimulatedFilters
    private var records = SimulatedRecords()
    private var wire: [UInt8] = []

    init(_ stage: Stage, _ filters: SimulatedFilters) {
        self.stage = stage
        self.filters = filters
    }

    /// Adopts an accepted stream, which begins its handshake.
    func accept() throws -> (token: Token, requests: [Stage.Request]) {
        stage.owner.connectionAdded()
        var stream = try stage.makeStream()
        stream.layers = .secured
        let requests = stage.turn(message: .adopt(stream, listener: 0, host: nil))
        guard case .attach(stream.descriptor, let token) = requests.first else {
            throw Stage.Unexpected(requests: requests)
        }
        return (token, Array(requests.dropFirst()))
    }

    /// Accepts a connection and completes its handshake.
    func open() throws -> Token {
        let (token, _) = try accept()
        turn((token, .received(record(.hello) + record(.finished))))
        finishSends(of: token)
        #expect(stage.delegate.take(token) == [.opened])
        return token
    }

    func record(_ kind: SimulatedRecords.Kind, _ bytes: [UInt8] = []) -> [UInt8] {
        records.record(kind, bytes)
    }

    /// Runs a turn, and notes what the loop sends.
    @discardableResult
    func turn(
        after delay: Nanoseconds = 0, _ completions: (Token, QueuedEvent)...
    ) -> [Stage.Request] {
        var requests: [Stage.Request] = []
        switch completions.count {
        case 0: requests = stage.turn(after: delay)
        case 1: requests = stage.turn(after: delay, completions[0])
        default: requests = stage.turn(after: delay, completions[0], completions[1])
        }
        return noteSends(requests)
    }

    @discardableResult
    func noteSends(_ requests: [Stage.Request]) -> [Stage.Request] {
        for request in requests {
            switch request {
            case .send(let bytes, _): wire += bytes
            case .sentAtOnce(let bytes, _):
                wire += bytes
                answered += bytes.count
            default: break
            }
        }
        return requests
    }

    /// Answers the send in flight, and each that follows it. Returns the loop's requests.
    @discardableResult
    func finishSends(of token: Token) -> [Stage.Request] {
        var requests: [Stage.Request] = []
        var count = unanswered
        while count > 0 {
            unanswered = 0
            requests += turn((token, .sent(count)))
            count = unanswered
        }
        return requests
    }

    /// Forgets what was sent without the filter, and returns it.
    func takePlain() -> [UInt8] {
        defer {
            answered = 0
            wire = []
        }
        return wire
    }

    /// The program's bytes that the loop has sent, and what follows them.
    var sent: (plain: [UInt8], hasEnded: Bool, hasFailed: Bool) { SimulatedRecords.open(wire) }
    var wireCount: Int { wire.count }
    private var answered = 0
    private var unanswered: Int {
        get { wire.count - answered }
        set { answered = wire.count - newValue }
    }
}

/// Runs `body` with a stage whose accepted connections have filters.
func withSecuredStage(
    _ configuration: LoopConfiguration = LoopConfiguration(),
    filters plan: SimulatedFilters.Plan = SimulatedFilters.Plan(), workers: WorkerPool? = nil,
    _ body: (SecuredStage) throws -> Void
) throws {
    let filters = SimulatedFilters(seed: 1, plan: plan, workers: workers)
    var configuration = configuration
    configuration.acceptingFilters = filters
    configuration.connectingFilters = filters
    try withStage(configuration) { try body(SecuredStage($0, filters)) }
    #expect(filters.violations == [])
}
