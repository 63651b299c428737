import MillraceEventLoop

/// The socket of a simulated descriptor.
final class SimulatedSocket {
    enum Kind {
        case listener(SimulatedListener)
        case stream(Endpoint)
        case datagrams(SimulatedDatagramSocket)
        /// A socket that is not connected yet.
        case unconnected
    }

    let number: CInt
    var kind: Kind
    /// Whether the socket is attached to a driver, which then closes it; otherwise the loop does.
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

/// A listening socket, and the connections that wait in its backlog.
final class SimulatedListener {
    let address: SocketAddress
    let options: ListenOptions
    let path: PathIdentity?
    /// Called when a connection arrives.
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

    /// Closes the listener. Waiting connections are reset, like by the kernel: a server that closes
    /// without draining loses them.
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
