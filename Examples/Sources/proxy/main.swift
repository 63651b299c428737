// A proxy that forwards each client to one upstream, in both directions, on one loop. Streams are
// piped with back-pressure. For `udp://`, each sender has its own connected socket upstream. Usage:
// `proxy [LISTEN] [UPSTREAM]`.
import NetAPI

struct Proxy: EventHandler, DatagramHandler {
    let upstream: Address
    /// The upstream side of each sender of this loop. With one handler for each loop, no lock is
    /// needed.
    let flows = PerLoop()
    let sender = PerConnection<(socket: DatagramSocket, address: Address)?>(nil)

    final class PerLoop {
        var connections: [Address: Connection] = [:]
        /// Datagrams that arrived before the upstream side was connected.
        var early: [Address: [[UInt8]]] = [:]
    }

    func onOpen(_ connection: Connection) -> Action {
        guard connection.isAccepted else { return .none }
        connection.connect(to: upstream, timeout: .seconds(3)) { client, server in
            client.pipe(to: server)
            server.pipe(to: client)
        }
        return .none
    }

    func onDatagram(_ datagram: Datagram) -> Action {
        let from = datagram.remoteAddress
        if let flow = flows.connections[from] {
            flow.write(datagram.bytes)
            flow.flush()
            return .none
        }
        let isFirst = flows.early[from] == nil
        // The limit keeps a sender from filling the memory before its flow is connected.
        if flows.early[from, default: []].count < 64 {
            flows.early[from, default: []].append(Array(copying: datagram.bytes))
        }
        if isFirst { open(from, datagram.socket, datagram.loop) }
        return .none
    }

    private func open(_ from: Address, _ socket: DatagramSocket, _ loop: Loop) {
        loop.connect(to: upstream, timeout: .seconds(3)) { [flows, sender] result in
            let early = flows.early.removeValue(forKey: from) ?? []
            guard let flow = try? result.get() else { return }
            flow[sender] = (socket, from)
            flows.connections[from] = flow
            for bytes in early {
                flow.write(bytes)
                flow.flush()
            }
        }
    }

    /// Called only for the upstream side of a datagram flow, since streams are piped.
    func onTraffic(_ connection: Connection) -> Action {
        if let (socket, address) = connection[sender] {
            socket.send(connection.readArray(), to: address)
        }
        return .none
    }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        if let (_, address) = connection[sender] { flows.connections[address] = nil }
        return .none
    }
}

let arguments = CommandLine.arguments.dropFirst()
let listen = Address(stringLiteral: arguments.first ?? "tcp://127.0.0.1:9000")
let upstream = Address(stringLiteral: arguments.dropFirst().first ?? "tcp://127.0.0.1:9001")
var options = Options()
// A datagram flow has no other end than the idle time-out.
options.timeouts.idle = .seconds(60)
Server.main(listen: listen, options: options) { Proxy(upstream: upstream) }
