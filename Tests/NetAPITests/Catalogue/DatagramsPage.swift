/// The examples of the catalogue's page on datagrams, compiled.
import NetAPI

enum DatagramsPage {
    // example: begin datagrams-echo
    struct Pong: DatagramHandler {
        func onDatagram(_ datagram: Datagram) -> Action {
            if datagram.bytes.equals("ping") { datagram.reply("pong") }
            return .none
        }
    }
    // example: end

    // example: begin datagrams-group
    struct Listener: DatagramHandler {
        func onBoot(_ loop: Loop) throws -> Action {
            try loop.server.datagramSockets[0].join("udp://239.1.2.3:0", interface: "eth0")
            return .none
        }

        func onDatagram(_ datagram: Datagram) -> Action {
            print("\(datagram.remoteAddress): \(datagram.bytes.byteCount) bytes")
            return .none
        }
    }
    // example: end

    static func ask(_ client: Client) async throws -> [UInt8]? {
        // example: begin datagrams-task
        let answer = try await client.withConnection(to: "udp://127.0.0.1:5000") { connection in
            try await connection.write("ping")
            return try await connection.withTimeout(.seconds(1)) { try await connection.read() }
        }
        // example: end
        return answer
    }
}
