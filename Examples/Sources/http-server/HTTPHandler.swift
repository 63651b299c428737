// The protocol's driver: reads requests out of what came, answers them in order, and stops reading
// where it would have to hold too much.
import HTTPCodec
import NetAPI

/// What all loops share.
struct HTTPSettings: Sendable {
    var limits = RequestLimits()
    var headTimeout = Duration.seconds(10)
    var bodyTimeout = Duration.seconds(30)
    let files: StaticFiles?

    init(files: StaticFiles?) { self.files = files }
}

/// One per loop, so that the responder needs no lock.
final class HTTPHandler: EventHandler {
    private let settings: HTTPSettings
    private let responder = Responder()
    private let exchanges: PerConnection<Exchange>

    init(_ settings: HTTPSettings) {
        self.settings = settings
        let limits = settings.limits
        exchanges = PerConnection(Exchange(limits: limits))
    }

    func onTraffic(_ connection: Connection) throws -> Action { try serve(connection) }

    func onWritable(_ connection: Connection) throws -> Action { try serve(connection) }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        connection[exchanges].timer?.cancel()
        return .none
    }

    private func serve(_ connection: Connection) throws -> Action {
        responder.refreshDate()
        let exchange = connection[exchanges]
        while connection.isWritable {
            let step: Step
            switch exchange.phase {
            case .head: step = try takeHead(connection, exchange)
            case .body(let reply): step = try takeBody(connection, exchange, reply)
            }
            if step == .close { return .close }
            if step == .wait { break }
        }
        settle(connection, exchange)
        return .none
    }

    private enum Step { case again, wait, close }

    // MARK: One request

    private func takeHead(_ connection: Connection, _ exchange: Exchange) throws -> Step {
        guard connection.buffered > 0 else { return .wait }
        var (headBytes, reply) = (0, Reply.status(.badRequest))
        let status: Status? = connection.withUnsafeBytes { bytes in
            switch exchange.parser.parse(bytes) {
            case .needsMore: return nil
            case .refused(let status): return status
            case .complete(let count):
                headBytes = count
                reply = route(exchange.parser.head, bytes)
                return .ok
            }
        }
        guard let status else { return .wait }
        guard status == .ok else { return refuse(connection, exchange, status) }
        let head = exchange.parser.head
        connection.discard(headBytes)
        exchange.parser.reset()
        exchange.requests += 1
        exchange.isHead = head.method == .head
        exchange.isVersion11 = head.isVersion11
        exchange.keepsAlive = head.keepsAlive && !connection.loop.isStopping
        guard head.body != .none else {
            return try answer(connection, exchange, reply)
        }
        exchange.decoder = BodyDecoder(head.body, limits: settings.limits)
        exchange.phase = .body(reply)
        // One that sent the body along does not wait for it.
        if head.expectsContinue, connection.buffered == 0 { responder.sendContinue(connection) }
        return .again
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
        case .refused(let status): return refuse(connection, exchange, status)
        case .complete: return try answer(connection, exchange, reply)
        }
    }

    private func answer(
        _ connection: Connection, _ exchange: Exchange, _ reply: Reply
    ) throws -> Step {
        exchange.phase = .head
        // It may have begun while the body came.
        if connection.loop.isStopping { exchange.keepsAlive = false }
        switch reply {
        case .plaintext: responder.sendPlaintext(connection, exchange)
        case .json:
            responder.send(
                connection, exchange, .ok, type: "application/json",
                #"{"message":"Hello, World!"}"#)
        case .echo:
            responder.send(
                connection, exchange, type: "application/octet-stream", exchange.body)
            exchange.body = []
        case .metrics:
            let text = Metrics.text(of: connection.server)
            responder.send(connection, exchange, type: "text/plain; version=0.0.4", text)
        case .status(let status):
            responder.send(connection, exchange, status, "")
        case .file(let file):
            responder.sendHead(of: file, connection, exchange)
            if !exchange.isHead { try file.send(to: connection) }
        }
        return exchange.keepsAlive ? .again : .close
    }

    private func refuse(
        _ connection: Connection, _ exchange: Exchange, _ status: Status
    ) -> Step {
        exchange.keepsAlive = false
        exchange.isHead = false
        responder.send(connection, exchange, status, "")
        return .close
    }

    // MARK: Routes

    private func route(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Reply {
        let target = head.target.of(bytes)
        let path = UnsafeRawBufferPointer(rebasing: target.prefix { $0 != 0x3F })
        if head.method == .other { return .status(.methodNotAllowed) }
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
        if !connection.isWritable { owed = nil }
        connection.isBusy = isBusy
        guard owed != exchange.owed else { return }
        exchange.owed = owed
        exchange.timer?.cancel()
        exchange.timer = nil
        guard let owed else { return }
        let limit = owed.part == .head ? settings.headTimeout : settings.bodyTimeout
        exchange.timer = connection.schedule(after: limit) { [unowned self] connection in
            self.responder.refreshDate()
            _ = self.refuse(connection, exchange, .requestTimeout)
            connection.close()
        }
    }
}
