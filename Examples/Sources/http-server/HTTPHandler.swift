// The protocol's driver. It reads requests from the received bytes, answers them in order, and
// stops reading before it would have to store too much.
import HTTPCodec
import NetAPI
import ServerCommand

/// The settings and counters that all loops share.
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

/// The handler of one loop. Each loop has its own, so that the responder needs no lock.
final class HTTPHandler: EventHandler {
    /// The number of steps of a connection before other connections get their turn. A step is one
    /// response, or several that are collected. Looking up a file counts as one more step, since it
    /// needs some microseconds.
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

    func onBoot(_ loop: Loop) -> Action {
        if loop.index == 0 { announce(loop.server) }
        return .none
    }

    func onTick(_ loop: Loop) -> Tick {
        accessLog?.flush()
        return .after(slowReaders.look())
    }

    func onShutdown(_ server: Server) { accessLog?.flush() }

    func onTraffic(_ connection: Connection) throws -> Action { try serve(connection) }

    func onWritable(_ connection: Connection) throws -> Action {
        // The connection waits for its turn.
        if connection[exchanges].owed?.part == .turn { return .none }
        return try serve(connection)
    }

    /// Called only for a busy connection: a request is incomplete, and its rest will not arrive.
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
        // This includes responses made before an error was thrown.
        defer {
            responder.flush(connection, exchange)
            slowReaders.note(connection, exchange)
        }
        while connection.isWritable {
            // Steps count across callbacks, because each sent file is one callback and many fit in
            // a turn.
            if exchange.steps >= Self.mostSteps, connection.buffered > 0 {
                rest(connection, exchange)
                return .none
            }
            let step: Step
            switch exchange.phase {
            case .head:
                step = try takeHeads(connection, exchange)
                // Bytes that only continue a head are no step: a rest would extend the head's time
                // limit.
                if step == .again { exchange.steps &+= 1 }
            case .body(let reply): step = try takeBody(connection, exchange, reply)
            case .answered: step = try takeBody(connection, exchange, nil)
            }
            // The flush comes before the next check of `isWritable`, which must include these
            // bytes.
            responder.flush(connection, exchange)
            if step == .close { return .close }
            if step == .wait { break }
        }
        settle(connection, exchange)
        return .none
    }

    enum Step { case again, wait, close }

    // MARK: One request

    /// Parses heads and answers requests without a body, until other work has to come first.
    private func takeHeads(_ connection: Connection, _ exchange: Exchange) throws -> Step {
        let isStopping = connection.loop.isStopping
        var taken = 0
        // The bytes stay valid until the callback ends, even after a write or a discard.
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

    /// Records the head in the first `count` of `bytes`, and chooses the reply.
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

    /// Returns the phase for the body. A reply that the head alone decides is sent before the body.
    private func phase(
        for reply: Reply, _ head: RequestHead, _ bytes: UnsafeRawBufferPointer
    ) -> Exchange.Phase {
        switch reply {
        case .plaintext, .json, .echo, .metrics, .later: .body(reply)
        case .file(let file) where !file.isLeftOut: .body(.later(LaterRequest(head, bytes)))
        case .file, .status, .notAllowed, .moved: .answered
        }
    }

    /// Starts a body, which the client sends at once or after `100 Continue`.
    private func meetBody(
        _ connection: Connection, _ exchange: Exchange, _ reply: Reply, hasCome: Bool
    ) throws -> Step {
        guard case .answered = exchange.phase else {
            // A client that has sent a part of the body does not wait for this response.
            if exchange.awaitsContinue, !hasCome { responder.sendContinue() }
            return .again
        }
        // The server cannot know whether a client that waits sends its body now (RFC 9110, 10.1.1),
        // nor where its next request then begins.
        if exchange.awaitsContinue { exchange.keepsAlive = false }
        return try answer(connection, exchange, reply)
    }

    /// Reads a part of a body. `reply` is nil if the request is already answered.
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
            // The server may have begun to stop while the body arrived.
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
