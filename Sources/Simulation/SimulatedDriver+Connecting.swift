import Glibc
import MillraceEventLoop

/// Connecting to a listener or an upstream of the same simulated network.
extension SimulatedDriver {
    func connect(_ port: Port, to address: UnsafeRawPointer, _ length: Int) {
        let name = UnsafeRawBufferPointer(start: address, count: length)
        guard let target = SocketAddress(kernelForm: name),
            case .unconnected = port.socket.kind
        else { return refuse(port, EINVAL) }
        if let upstream = network.upstreams[target] { return connect(port, to: upstream) }
        switch network.joinListener(at: target) {
        case .joined(let endpoint): establish(port, endpoint)
        case .full: refuse(port, EAGAIN)
        case .nobody: refuse(port, ECONNREFUSED)
        }
    }

    private func connect(_ port: Port, to upstream: SimulatedUpstream) {
        upstream.noteAttempt()
        guard let later = upstream.later else { return settle(port, upstream) }
        later { [weak self, weak port] in
            // The loop may have given up meanwhile. A closing port answers nothing but `closed`.
            guard let self, let port, owns(port), port.closeTime == nil else { return }
            settle(port, upstream)
        }
    }

    private func settle(_ port: Port, _ upstream: SimulatedUpstream) {
        switch upstream.behaviour {
        case .accepts:
            let (server, client) = network.makeStream(to: upstream.address, isFromLoop: true)
            establish(port, client)
            upstream.connected(network.accept(server))
        case .refuses: refuse(port, ECONNREFUSED)
        case .neverAnswers: break
        }
    }

    private func establish(_ port: Port, _ endpoint: Endpoint) {
        port.socket.kind = .stream(endpoint)
        port.onChange { [weak self, weak port] in
            if let self, let port { wake(port) }
        }
        queue.append(.init(token: port.token, event: .connected))
    }

    private func refuse(_ port: Port, _ number: Int32) {
        queue.append(
            .init(token: port.token, event: .failed(.connect, SystemError(number, "connect"))))
    }
}
