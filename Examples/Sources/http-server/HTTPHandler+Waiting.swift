// Work between callbacks: time limits for clients, refusals, and turns for other connections.
import HTTPCodec
import NetAPI

extension HTTPHandler {
    /// Sends a last response, after which the connection closes. A request that is already answered
    /// gets no second response when the rest of its body is refused.
    func refuse(_ connection: Connection, _ exchange: Exchange, _ status: Status) -> Step {
        settings.refusals.add(status)
        exchange.keepsAlive = false
        if case .answered = exchange.phase { return .close }
        exchange.isHead = false
        responder.send(exchange, status, "")
        if let accessLog { log(accessLog, connection, exchange, nil) }
        return .close
    }

    /// Records the input that the client has still to send, and starts or stops its timer. A
    /// request that arrived whole has no missing input here and costs no timer.
    func settle(_ connection: Connection, _ exchange: Exchange) {
        var owed: Exchange.Owed?
        var isBusy = connection.buffered > 0
        switch exchange.phase {
        case .head:
            // An empty line after a request does not begin another one.
            if isBusy { isBusy = connection.withUnsafeBytes { exchange.parser.hasBegun($0) } }
            if isBusy { owed = .init(part: .head, request: exchange.requests) }
        case .body, .answered:
            owed = .init(part: .body, request: exchange.requests)
            isBusy = true
        }
        // Input that waits because the peer does not read its responses is not missing.
        if owed != nil, !connection.isWritable { owed = nil }
        setBusy(isBusy, connection, exchange)
        // Reading resumes only after all received requests are answered, or the unread bytes would
        // only grow.
        if exchange.isPaused, connection.isWritable {
            exchange.isPaused = false
            connection.resumeReading()
        }
        guard owed != exchange.owed else { return }
        startClock(owed, connection, exchange)
    }

    private func setBusy(_ isBusy: Bool, _ connection: Connection, _ exchange: Exchange) {
        guard isBusy != exchange.isBusy else { return }
        exchange.isBusy = isBusy
        connection.isBusy = isBusy
    }

    private func startClock(
        _ owed: Exchange.Owed?, _ connection: Connection, _ exchange: Exchange
    ) {
        exchange.owed = owed
        exchange.timer?.cancel()
        exchange.timer = nil
        switch owed?.part {
        case .head:
            exchange.timer = connection.schedule(after: settings.headTimeout) {
                [unowned self] connection in giveUp(connection, exchange)
            }
        case .body:
            exchange.bodyBytes = 0
            awaitBody(connection, exchange, since: ContinuousClock.now, settings.body.timeout)
        case .turn, nil: break
        }
    }

    /// Waits for the rest of a body. Bytes that arrived extend the time, but a client that sends no
    /// byte for `duration` is refused, however many arrived before. The check runs only when a time
    /// is over, so a piece of a body costs nothing.
    private func awaitBody(
        _ connection: Connection, _ exchange: Exchange, since start: ContinuousClock.Instant,
        _ duration: Duration
    ) {
        let seen = exchange.bodyBytes
        exchange.timer = connection.schedule(after: duration) { [unowned self] connection in
            let limit = settings.body.duration(of: exchange.bodyBytes)
            let left = limit - (ContinuousClock.now - start)
            guard left > .zero, exchange.bodyBytes > seen else {
                return giveUp(connection, exchange)
            }
            let next = min(max(left, .milliseconds(1)), settings.body.timeout)
            awaitBody(connection, exchange, since: start, next)
        }
    }

    private func giveUp(_ connection: Connection, _ exchange: Exchange) {
        responder.refreshDate()
        if accessLog != nil, case .head = exchange.phase {
            connection.withUnsafeBytes {
                AccessLog.requestLine($0, into: &exchange.requestLine)
            }
        }
        _ = refuse(connection, exchange, .requestTimeout)
        responder.flush(connection, exchange)
        slowReaders.note(connection, exchange)
        connection.close()
    }

    /// Yields to other connections before the rest of a long pipeline. Reading is paused meanwhile,
    /// or the unread bytes would grow to the limit at which the library closes.
    func rest(_ connection: Connection, _ exchange: Exchange) {
        exchange.steps = 0
        startClock(.init(part: .turn, request: exchange.requests), connection, exchange)
        setBusy(true, connection, exchange)
        if !exchange.isPaused { connection.pauseReading() }
        exchange.isPaused = true
        guard !connection.handle.wake() else { return }
        // The mailbox is full of messages of other threads, so a timer replaces the wake-up.
        exchange.timer = connection.schedule(after: .milliseconds(1)) {
            [unowned self] connection in
            if try serve(connection) == .close { connection.close() }
        }
    }
}
