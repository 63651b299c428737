/// A chat server over a simulated network, and its visitors.
import NetAPI
import NetAPITesting
import WebSocketCodec

@testable import chat

enum SimulatedChat {
    static func serve(
        loops: Int = 1, on network: TestNetwork = TestNetwork(),
        _ change: (inout ChatSettings) -> Void = { _ in }
    ) throws -> TestServer {
        var settings = ChatSettings()
        change(&settings)
        let room = Room(settings)
        let options = settings.limiting(Options(loops: .count(loops)))
        return try TestServer(options: options, on: network) { [settings] in
            ChatHandler(settings, room)
        }
    }

    /// Returns a visitor without a name.
    static func visit(_ server: TestServer) throws -> TestPeer {
        let peer = try server.connect()
        peer.send(ServerEvents.upgrade)
        return peer
    }

    static func join(_ server: TestServer, _ name: String) throws -> TestPeer {
        let peer = try visit(server)
        peer.send(ServerEvents.text(name))
        return peer
    }

    static func events(_ peer: TestPeer) throws -> [String] { try ServerEvents.of(peer.received) }
}
