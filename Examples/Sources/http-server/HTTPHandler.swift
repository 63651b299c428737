// The protocol's driver: reads requests out of what came, answers them in order, and stops reading
// where it would have to hold too much.
import HTTPCodec
import NetAPI

/// What all loops share.
struct HTTPSettings: Sendable {
    var limits = RequestLimits()
    var headTimeout = Duration.seconds(10)
    var bodyTimeout = Duration.seconds(30)
    var response = ResponseLimit()
    let slowReaders = SlowReaderCount()
    let files: StaticFiles?

    init(files: StaticFiles?) { self.files = files }
}

/// One per loop, so that the responder needs no lock.
final class HTTPHandler: EventHandler {
    private let settings: HTTPSettings
    private let responder = Responder()
    private let slowReaders: SlowReaders
    private let exchanges: PerConnection<Exchange>

    init(_ settings: HTTPSettings) {
        self.settings = settings
        slowReaders = SlowReaders(settings.response, settings.slowReaders)
        let limits = settings.limits
        exchanges = PerConnection(Exchange(limits: limits))
    }

    func onTick(_ loop: Loop) -> Tick { .after(slowReaders.look()) }

    func onTraffic(_ connection: Connection) throws -> Action { try serve(connection) }

    func onWritable(_ connection: Connection) throws -> Action { try serve(connection) }

    /// Called for a busy connection alone: a request is incomplete, and its rest will not come.
    func onHalfClose(_ connection: Connection) -> Action {
        connection.isWritable ? .close : .none
    }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        connection[exchanges].timer?.cancel()
        return .none
    }

    private func serve(_ connection: Connection) throws -> Action {
        responder.refreshDate()
        let exchange = connection[exchanges]
        // Also what was answered before something was thrown.
        defer {
            responder.flush(connection, exchange)
            slowReaders.note(connection, exchange)
        }
        while connection.isWritable {
            let step: Step
            switch exchange.phase {
            case .head: step = try takeHeads(connection, exchange)
            case .body(let reply): step = try takeBody(connection, exchange, reply)
            }
            // Before what it wrote is looked at.
            responder.flush(connection, exchange)
            if step == .close { return .close }
            if step == .wait { break }
        }
        settle(connection, exchange)
        return .none
    }

    private enum Step { case again, wait, close }

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
                case .refused(let status): return refuse(exchange, status)
                case .complete(let count):
                    taken &+= count
                    let reply = begin(rest, exchange, isStopping)
                    guard case .head = exchange.phase else {
                        // One that sent the body along does not wait for it.
                        if exchange.awaitsContinue, taken == bytes.count {
                            responder.sendContinue()
                        }
                        return .again
                    }
                    let step = try answer(connection, exchange, reply)
                    if step != .again || responder.isFull || reply.isWrittenDirectly {
                        return step
                    }
                }
            }
            return .wait
        }
        connection.discard(taken)
        return step
    }

    /// Notes what the head in `bytes` says, and chooses the reply.
    private func begin(
        _ bytes: UnsafeRawBufferPointer, _ exchange: Exchange, _ isStopping: Bool
    ) -> Reply {
        let head = exchange.parser.head
        exchange.parser.reset()
        exchange.requests += 1
        exchange.isHead = head.method == .head
        exchange.isVersion11 = head.isVersion11
        exchange.keepsAlive = head.keepsAlive && !isStopping
        exchange.awaitsContinue = head.expectsContinue
        let reply = route(head, bytes)
        if head.body != .none {
            exchange.decoder = BodyDecoder(head.body, limits: settings.limits)
            exchange.phase = .body(reply)
        }
        return reply
    }

    private func takeBody(
        _ connection: Connection, _ exchange: Exchange, _ reply: Reply
    ) throws -> Step {
        var keeps = false
        if case .echo = reply { keeps = true }
        let step = connection.withUnsafeBytes { bytes in
            let step = exchange.decoder.decode(bytes)
            if keeps, !step.data.isEmpty { exchange.body.append(contentsOf: bytes[step.data]) }
            return step
        }
        connection.discard(step.consumed)
        switch step.outcome {
        case .goesOn: return step.consumed > 0 ? .again : .wait
        case .refused(let status): return refuse(exchange, status)
        case .complete:
            exchange.phase = .head
            // It may have begun while the body came.
            if connection.loop.isStopping { exchange.keepsAlive = false }
            return try answer(connection, exchange, reply)
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
            let text = Metrics.text(
                of: connection.server, slowReaders: settings.slowReaders.value)
            responder.send(connection, exchange, type: "text/plain; version=0.0.4", text)
        case .status(let status):
            responder.send(exchange, status, "")
        case .file(let file):
            responder.sendHead(of: file, connection, exchange)
            if !exchange.isHead {
                exchange.handedOver &+= file.remaining
                try file.send(to: connection)
            }
        }
        return exchange.keepsAlive ? .again : .close
    }

    private func refuse(_ exchange: Exchange, _ status: Status) -> Step {
        exchange.keepsAlive = false
        exchange.isHead = false
        responder.send(exchange, status, "")
        return .close
    }

    // MARK: Routes

    private func route(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Reply {
        if head.method == .other { return .status(.methodNotAllowed) }
        let path = head.path(in: bytes)
        if path.equals("/echo") { return .echo }
        guard head.method != .post else { return .status(.methodNotAllowed) }
        if path.equals("/plaintext") { return .plaintext }
        if path.equals("/json") { return .json }
        if path.equals("/metrics") { return .metrics }
        return settings.files?.reply(head, bytes) ?? .status(.notFound)
    }

    // MARK: Between callbacks

    /// Notes what the client owes, and starts or stops the clock. A request that came whole never
    /// gets here with anything owed, and costs no timer.
    private func settle(_ connection: Connection, _ exchange: Exchange) {
        var owed: Exchange.Owed?
        var isBusy = connection.buffered > 0
        switch exchange.phase {
        case .head:
            if isBusy { owed = .init(part: .head, request: exchange.requests) }
        case .body:
            owed = .init(part: .body, request: exchange.requests)
            isBusy = true
        }
        // What waits unread for a peer that does not take its answers is not owed.
        if owed != nil, !connection.isWritable { owed = nil }
        connection.isBusy = isBusy
        guard owed != exchange.owed else { return }
        exchange.owed = owed
        exchange.timer?.cancel()
        exchange.timer = nil
        guard let owed else { return }
        let limit = owed.part == .head ? settings.headTimeout : settings.bodyTimeout
        exchange.timer = connection.schedule(after: limit) { [unowned self] connection in
            self.responder.refreshDate()
            _ = self.refuse(exchange, .requestTimeout)
            self.responder.flush(connection, exchange)
            self.slowReaders.note(connection, exchange)
            connection.close()
        }
    }
}
