// Forwards each client to one upstream, both ways, on one loop: `proxy [LISTEN] [UPSTREAM]`.
// Streams are piped with back-pressure; for `udp://` each sender has a connected socket upstream.
import NetAPI

struct Proxy: EventHandler, DatagramHandler {
    let upstream: Address
    /// The upstream side of each sender, on this loop: a handler for each loop needs no lock.
    let flows = PerLoop()
    let sender = PerConnection<(socket: DatagramSocket, address: Address)?>(nil)

    final class PerLoop {
        var connections: [Address: Connection] = [:]
        /// What came before the upstream side was there.
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
        // A sender that is not served yet may not fill our memory.
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

    /// Only of the upstream side of a datagram flow: streams are piped.
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
// A datagram flow ends by silence.
options.timeouts.idle = .seconds(60)
Server.main(listen: listen, options: options) { Proxy(upstream: upstream) }
