import Glibc
import MillraceEventLoop

/// Connecting to a listener of the same simulated network.
extension SimulatedDriver {
    func connect(_ port: Port, to address: UnsafeRawPointer, _ length: Int) {
        let name = UnsafeRawBufferPointer(start: address, count: length)
        guard let target = SocketAddress(kernelForm: name),
            case .unconnected = port.socket.kind
        else { return refuse(port, EINVAL) }
        switch network.joinListener(at: target) {
        case .joined(let endpoint):
            port.socket.kind = .stream(endpoint)
            port.onChange { [weak self, weak port] in
                if let self, let port { wake(port) }
            }
            queue.append(.init(token: port.token, event: .connected))
        case .full: refuse(port, EAGAIN)
        case .nobody: refuse(port, ECONNREFUSED)
        }
    }

    private func refuse(_ port: Port, _ number: Int32) {
        queue.append(
            .init(token: port.token, event: .failed(.connect, SystemError(number, "connect"))))
    }
}
