/// The beginning of a connection: adopt its descriptor and call `onOpen`.

extension Loop {
    /// Makes a connection of a descriptor that a listener accepted, here or on another loop.
    func open(_ stream: AcceptedStream, listener: Int, host: SocketAddress? = nil) {
        guard !hasEnded, let connection = table.allocate() else {
            if !hasEnded { owner.report(.slotsExhausted(loop: index)) }
            if let host { owner.hostDisconnected(host) }
            sockets.discard(stream.descriptor)
            return owner.connectionClosed()
        }
        open(connection, stream, listener: listener, host: host)
    }

    /// Like the above, but for an allocated slot. Without a listener, for a stream that was
    /// connected elsewhere.
    func open(
        _ connection: ConnectionReference, _ stream: AcceptedStream, listener: Int?,
        host: SocketAddress? = nil
    ) {
        let descriptor = stream.descriptor
        sockets.prepare(descriptor, configuration.stream)
        let details = ConnectionDetails(isAccepted: listener != nil, remoteAddress: stream.peer)
        details.isHostCounted = host != nil
        details.openedAt = now
        connection.details = Unmanaged.passRetained(details)
        connection.descriptor = descriptor
        if listener == nil { connection.flags.insert(.readsAhead) }
        connection.lastReceived = now
        counters.opened.add()
        driver.attach(descriptor, as: connection.token)
        if stream.layers.isEmpty {
            opened(connection)
        } else {
            openLayers(connection, stream.layers)
        }
        // An earlier check of the drain did not include this connection.
        if case .draining = phase { drainDeadline = now }
    }

    /// Calls `onOpen` of an accepted or adopted connection.
    @inline(__always)
    func opened(_ connection: ConnectionReference) {
        connection.state = .open
        connection.flags.insert(.opened)
        armTimer(connection)
        callback(connection) { try $0.opened(connection) }
        // Inside a closure of the program, the callback's writes are not flushed yet.
        if depth > 0 { enqueue(connection) }
        updateReading(connection)
    }

    /// The address of our side, read from the kernel once.
    package func localAddress(of connection: ConnectionReference) -> SocketAddress? {
        guard let details = connection.details?.takeUnretainedValue() else { return nil }
        if details.localAddress == nil {
            details.localAddress = try? sockets.localAddress(of: connection.descriptor)
        }
        return details.localAddress
    }

    package func set(
        _ option: StreamOption, on connection: ConnectionReference
    ) throws(SystemError) {
        try sockets.set(option, on: connection.descriptor)
    }

    package func option(
        level: CInt, name: CInt, capacity: Int, of connection: ConnectionReference
    ) throws(SystemError) -> [UInt8] {
        try sockets.option(
            level: level, name: name, capacity: capacity, of: connection.descriptor)
    }
}
