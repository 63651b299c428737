// The protocol's driver: reads requests out of what came, answers them in order, and stops reading
// where it would have to hold too much.
import HTTPCodec
import NetAPI

/// What all loops share.
struct HTTPSettings: Sendable {
    var limits = RequestLimits()
    var headTimeout = Duration.seconds(10)
    var body = TransferLimit()
    var response = TransferLimit()
    var accessLog: AccessLogFile?
    let slowReaders = Counter()
    let refusals = Refusals()
    let files: StaticFiles?

    init(files: StaticFiles?) { self.files = files }
}

/// One per loop, so that the responder needs no lock.
final class HTTPHandler: EventHandler {
    /// How many steps a connection takes before others have their turn: a step is one answer, or
    /// many that are gathered. Looking up a file is a step more, since that takes some
    /// microseconds.
    private static let mostSteps = 32

    let settings: HTTPSettings
    let responder = Responder()
    let slowReaders: SlowReaders
    let accessLog: AccessLog?
    private let exchanges: PerConnection<Exchange>

    init(_ settings: HTTPSettings) {
        self.settings = settings
        slowReaders = SlowReaders(settings.response, settings.slowReaders)
        accessLog = settings.accessLog.map { AccessLog($0) }
        let limits = settings.limits
        exchanges = PerConnection(Exchange(limits: limits))
    }

    func onTick(_ loop: Loop) -> Tick {
        accessLog?.flush()
        return .after(slowReaders.look())
    }

    func onShutdown(_ server: Server) { accessLog?.flush() }

    func onTraffic(_ connection: Connection) throws -> Action { try serve(connection) }

    func onWritable(_ connection: Connection) throws -> Action {
        // Its turn is still to come.
        if connection[exchanges].owed?.part == .turn { return .none }
        return try serve(connection)
    }

    /// Called for a busy connection alone: a request is incomplete, and its rest will not come.
    func onHalfClose(_ connection: Connection) -> Action {
        connection.isWritable ? .close : .none
    }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        connection[exchanges].timer?.cancel()
        return .none
    }

    func serve(_ connection: Connection) throws -> Action {
        responder.refreshDate()
        let exchange = connection[exchanges]
        // Also what was answered before something was thrown.
        defer {
            responder.flush(connection, exchange)
            slowReaders.note(connection, exchange)
        }
        while connection.isWritable {
            // Not by callbacks: each file that was sent is one, and many fit into a turn.
            if exchange.steps >= Self.mostSteps, connection.buffered > 0 {
                rest(connection, exchange)
                return .none
            }
            let step: Step
            switch exchange.phase {
            case .head:
                step = try takeHeads(connection, exchange)
                // Nor what only brings more of a head: resting would give it more time.
                if step == .again { exchange.steps &+= 1 }
            case .body(let reply): step = try takeBody(connection, exchange, reply)
            case .answered: step = try takeBody(connection, exchange, nil)
            }
            // Before what it wrote is looked at.
            responder.flush(connection, exchange)
            if step == .close { return .close }
            if step == .wait { break }
        }
        settle(connection, exchange)
        return .none
    }

    enum Step { case again, wait, close }

    // MARK: One request

    /// Takes heads, and answers those without a body, until something else has to be done first.
    private func takeHeads(_ connection: Connection, _ exchange: Exchange) throws -> Step {
        let isStopping = connection.loop.isStopping
        var taken = 0
        // Lent until the callback ends, whatever is written or dropped meanwhile.
        let step: Step = try connection.bytes.withUnsafeBytes { bytes in
            while taken < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
                switch exchange.parser.parse(rest) {
                case .needsMore: return .wait
                case .refused(let status):
                    if accessLog != nil { AccessLog.requestLine(rest, into: &exchange.requestLine) }
                    return refuse(connection, exchange, status)
                case .complete(let count):
                    taken &+= count
                    let reply = begin(rest, count, exchange, isStopping)
                    guard case .head = exchange.phase else {
                        return try meetBody(
                            connection, exchange, reply, hasCome: taken < bytes.count)
                    }
                    let step = try answer(connection, exchange, reply)
                    if step != .again || responder.isFull || !reply.isCheap { return step }
                }
            }
            return .wait
        }
        connection.discard(taken)
        return step
    }

    /// Notes what the head in the first `count` of `bytes` says, and chooses the reply.
    private func begin(
        _ bytes: UnsafeRawBufferPointer, _ count: Int, _ exchange: Exchange, _ isStopping: Bool
    ) -> Reply {
        let head = exchange.parser.head
        exchange.parser.reset()
        exchange.requests += 1
        exchange.isHead = head.method == .head
        exchange.isVersion11 = head.isVersion11
        exchange.keepsAlive = head.keepsAlive && !isStopping
        exchange.awaitsContinue = head.expectsContinue
        if accessLog != nil { AccessLog.requestLine(bytes, into: &exchange.requestLine) }
        let reply = route(head, bytes, exchange)
        if head.body != .none {
            exchange.decoder = BodyDecoder(head.body, limits: settings.limits)
            exchange.phase = phase(
                for: reply, head, UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        }
        return reply
    }

    /// What a body is waited for. What the head alone decides is told at once.
    private func phase(
        for reply: Reply, _ head: RequestHead, _ bytes: UnsafeRawBufferPointer
    ) -> Exchange.Phase {
        switch reply {
        case .plaintext, .json, .echo, .metrics, .later: .body(reply)
        case .file(let file) where !file.isLeftOut: .body(.later(LaterRequest(head, bytes)))
        case .file, .status, .notAllowed, .moved: .answered
        }
    }

    /// Before a body, of which the client sends something at once or waits for a word.
    private func meetBody(
        _ connection: Connection, _ exchange: Exchange, _ reply: Reply, hasCome: Bool
    ) throws -> Step {
        guard case .answered = exchange.phase else {
            // One that sent the body along does not wait for it.
            if exchange.awaitsContinue, !hasCome { responder.sendContinue() }
            return .again
        }
        // Whether one that asked sends its body now cannot be known (RFC 9110, 10.1.1), nor, then,
        // where its next request begins.
        if exchange.awaitsContinue { exchange.keepsAlive = false }
        return try answer(connection, exchange, reply)
    }

    /// Without a reply the request has been answered.
    private func takeBody(
        _ connection: Connection, _ exchange: Exchange, _ reply: Reply?
    ) throws -> Step {
        var keeps = false
        if case .echo = reply { keeps = true }
        let step = connection.withUnsafeBytes { bytes in
            let step = exchange.decoder.decode(bytes)
            if keeps, !step.data.isEmpty { exchange.body.append(contentsOf: bytes[step.data]) }
            return step
        }
        connection.discard(step.consumed)
        exchange.bodyBytes &+= step.data.count
        switch step.outcome {
        case .goesOn: return step.consumed > 0 ? .again : .wait
        case .refused(let status): return refuse(connection, exchange, status)
        case .complete:
            exchange.phase = .head
            guard let reply else { return .again }
            // It may have begun while the body came.
            if connection.loop.isStopping { exchange.keepsAlive = false }
            guard case .later(let request) = reply else {
                return try answer(connection, exchange, reply)
            }
            return try answer(connection, exchange, openNow(request, exchange))
        }
    }

    private func answer(
        _ connection: Connection, _ exchange: Exchange, _ reply: Reply
    ) throws -> Step {
        switch reply {
        case .plaintext: responder.sendPlaintext(exchange)
        case .json:
            responder.send(
                exchange, .ok, type: "application/json", #"{"message":"Hello, World!"}"#)
        case .echo:
            responder.send(
                connection, exchange, type: "application/octet-stream", exchange.body)
            exchange.body = []
        case .metrics:
            exchange.steps &+= 1
            let text = Metrics.text(of: connection.server, settings)
            responder.send(connection, exchange, type: "text/plain; version=0.0.4", text)
        case .status(let status): responder.send(exchange, status, "")
        case .notAllowed(let takesPosts):
            responder.sendNotAllowed(exchange, takesPosts: takesPosts)
        case .moved(let location): responder.sendMoved(connection, exchange, to: location)
        case .file(let file):
            responder.sendHead(of: file, connection, exchange)
            if !exchange.isHead {
                exchange.hasToTake(file.remaining)
                try file.send(to: connection)
            }
        case .later: break
        }
        if let accessLog { log(accessLog, connection, exchange, reply) }
        return exchange.keepsAlive ? .again : .close
    }
}
