import EventLoop

/// What a simulated descriptor stands for.
final class SimulatedSocket {
    enum Kind {
        case listener(SimulatedListener)
        case stream(Endpoint)
        case datagrams(SimulatedDatagramSocket)
        /// To be connected.
        case unconnected
    }

    let number: CInt
    var kind: Kind
    /// Who closes it: the driver it is attached to, or else the loop.
    var isDriven = false
    var resetsOnClose = false

    init(number: CInt, kind: Kind) {
        self.number = number
        self.kind = kind
    }

    func close() {
        switch kind {
        case .listener(let listener): listener.close()
        case .stream(let endpoint): endpoint.close(reset: resetsOnClose)
        case .datagrams(let bound): bound.onChange = nil
        case .unconnected: break
        }
    }
}

/// A listening socket and who waits in its backlog.
final class SimulatedListener {
    let address: SocketAddress
    let options: ListenOptions
    let path: PathIdentity?
    /// Told of a new connection.
    var onChange: (() -> Void)?
    private var backlog: [Endpoint] = []

    init(address: SocketAddress, options: ListenOptions, path: PathIdentity?) {
        self.address = address
        self.options = options
        self.path = path
    }

    var hasWaiting: Bool { !backlog.isEmpty }
    var isFull: Bool { backlog.count >= max(1, Int(options.backlog)) }

    func enqueue(_ endpoint: Endpoint) {
        backlog.append(endpoint)
        onChange?()
    }

    func takeWaiting() -> Endpoint? { backlog.isEmpty ? nil : backlog.removeFirst() }

    /// Whoever still waits is reset, as by the kernel: a server that closes without draining loses
    /// them.
    func close() {
        onChange = nil
        for endpoint in backlog { endpoint.close(reset: true) }
        backlog = []
    }

    func answers(_ target: SocketAddress) -> Bool {
        switch (address, target) {
        case (.v4(let own, let port), .v4(let asked, let askedPort)):
            return port == askedPort && (own.word == 0 || own == asked)
        case (.v6(let own, let port, _), .v6(let asked, let askedPort, _)):
            return port == askedPort && (isAny(own) || own == asked)
        case (.v6(let own, let port, _), .v4(_, let askedPort)):
            return port == askedPort && isAny(own) && !options.onlyV6
        default:
            return address == target
        }
    }

    private func isAny(_ bytes: IPv6Bytes) -> Bool { bytes.high == 0 && bytes.low == 0 }
}
