// Between callbacks: what clients owe and until when, what is refused, and turns for the others.
import HTTPCodec
import NetAPI

extension HTTPHandler {
    /// Answers for the last time, unless the request has had its answer, of which the rest of its
    /// body turned out to be malformed.
    func refuse(_ connection: Connection, _ exchange: Exchange, _ status: Status) -> Step {
        settings.refusals.add(status)
        exchange.keepsAlive = false
        if case .answered = exchange.phase { return .close }
        exchange.isHead = false
        responder.send(exchange, status, "")
        if let accessLog { log(accessLog, connection, exchange, nil) }
        return .close
    }

    /// Notes what the client owes, and starts or stops the clock. A request that came whole never
    /// gets here with anything owed, and costs no timer.
    func settle(_ connection: Connection, _ exchange: Exchange) {
        var owed: Exchange.Owed?
        var isBusy = connection.buffered > 0
        switch exchange.phase {
        case .head:
            // An empty line behind a request does not begin another one.
            if isBusy { isBusy = connection.withUnsafeBytes { exchange.parser.hasBegun($0) } }
            if isBusy { owed = .init(part: .head, request: exchange.requests) }
        case .body, .answered:
            owed = .init(part: .body, request: exchange.requests)
            isBusy = true
        }
        // What waits unread for a peer that does not take its answers is not owed.
        if owed != nil, !connection.isWritable { owed = nil }
        setBusy(isBusy, connection, exchange)
        // Not before all that came is answered: what is unread would only grow.
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

    /// What has come meanwhile is worth more time, but who sends nothing more for that long need
    /// not be waited for, however much came before. Looking for it only when a time is over makes
    /// pieces cost nothing.
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

    /// Lets others have their turn before the rest of a long pipeline. No more is read meanwhile,
    /// or what is unread would grow to where the library closes.
    func rest(_ connection: Connection, _ exchange: Exchange) {
        exchange.steps = 0
        startClock(.init(part: .turn, request: exchange.requests), connection, exchange)
        setBusy(true, connection, exchange)
        if !exchange.isPaused { connection.pauseReading() }
        exchange.isPaused = true
        guard !connection.handle.wake() else { return }
        // The mailbox is full of what others sent.
        exchange.timer = connection.schedule(after: .milliseconds(1)) {
            [unowned self] connection in
            if try serve(connection) == .close { connection.close() }
        }
    }
}
