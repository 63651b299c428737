/// The loop's part of every request, from the driver's completion to the reply passed to the
/// driver.
///
/// Generic over the driver and inlinable into its module, so that the optimiser compiles both as
/// one. Through `any Driver` an echo needed 56 instructions more on epoll, and 79 on io_uring.
/// Events off the hot path are calls to functions in other files.
extension Loop {
    /// Pulls completions up to the turn's budget. True if there were any.
    @inlinable
    func processCompletions<D: Driver>(from driver: D) -> Bool {
        var left = configuration.completionsPerTurn
        while left > 0, let completion = driver.next() {
            left &-= 1
            guard let connection = table.find(completion.token) else {
                stale(completion)
                continue
            }
            switch completion.event {
            case .received(let bytes, let count): received(connection, bytes, count, driver)
            case .sent(let count): sent(connection, count)
            case .datagram(let datagram): self.datagram(datagram, on: connection)
            case let event: handle(event, of: connection)
            }
        }
        isBehind = left == 0
        return left < configuration.completionsPerTurn
    }

    @inlinable
    @inline(__always)
    func received(
        _ connection: ConnectionReference, _ bytes: UnsafeRawPointer, _ count: Int,
        _ driver: some Driver
    ) {
        connection.lastReceived = now
        counters.bytesIn.add(count)
        guard connection.flags.isDisjoint(with: .needsReceived),
            connection.inbound.base == nil
        else { return receivedSlow(connection, UnsafeRawBufferPointer(start: bytes, count: count)) }
        connection.inbound.lendFirst(bytes, count)
        traffic(connection, driver)
    }

    /// Like `callback`, for `onTraffic`, which comes from the driver and so never inside another
    /// callback.
    @inlinable
    @inline(__always)
    func traffic(_ connection: ConnectionReference, _ driver: some Driver) {
        current = connection
        depth = 1
        var action = LoopAction.none
        do {
            action = try delegates._withUnsafeGuaranteedRef {
                try $0.delegate.traffic(connection)
            }
        } catch {
            handlerFailed(connection, error)
        }
        depth = 0
        current = nil
        leave(connection, action, driver)
    }

    /// Runs after a callback that is not inside another.
    @inlinable
    @inline(__always)
    func leave(
        _ connection: ConnectionReference, _ action: LoopAction, _ driver: some Driver
    ) {
        // Most handlers read everything.
        if connection.inbound.base != nil { settle(connection) }
        if !retired.isEmpty { retired.free() }
        if action != .none { apply(action, to: connection) }
        if connection.flags.contains(.dirty) { flush(connection, driver) }
        if connection.flags.contains(.notOpen) && connection.state != .closing {
            process(connection)
        }
    }

    /// Sends the gathered bytes. The common reply is one chunk without a `sent` closure.
    @inlinable
    @inline(__always)
    func flush(_ connection: ConnectionReference, _ driver: some Driver) {
        guard !handlerWantsPreWrite, connection.flags.isDisjoint(with: .needsSent),
            let (bytes, count) = connection.outbound.single
        else { return flushSlow(connection) }
        connection.flags.remove(.dirty)
        connection.lastSent = now
        // No check of the marks: above the high mark, `congested` excludes this path.
        guard driver.send(bytes, count, for: connection.token) else {
            return connection.outbound.singleTookOff()
        }
        connection.outbound.completeSingle(chunks)
        counters.bytesOut.add(count)
    }

    @inlinable
    @inline(__always)
    func sent(_ connection: ConnectionReference, _ count: Int) {
        guard connection.flags.isDisjoint(with: .needsSent),
            connection.outbound.completeWhole(count, chunks)
        else { return sentPart(connection, count) }
        connection.lastSent = now
        counters.bytesOut.add(count)
    }
}
