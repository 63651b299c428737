// An echo server over TCP, TLS, UDP and Unix sockets. At SIGTERM or SIGINT, it drains its
// connections and exits with 0.
import ArgumentParser
import NetAPI
import ServerCommand
import ServerTLS

struct Echo: EventHandler, DatagramHandler {
    func onBoot(_ loop: Loop) -> Action {
        announce(loop.server)
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action {
        connection.write(connection.next())
        return .none
    }

    func onDatagram(_ datagram: Datagram) -> Action {
        datagram.reply(datagram.bytes)
        return .none
    }
}

@main
struct EchoServer: ServerCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo-server", abstract: "Sends received bytes back to the client.")

    @OptionGroup var common: ServerOptions
    @OptionGroup var tls: TLSOptions

    func run() throws {
        let server = try Server(
            Echo(), listen: try common.addresses(),
            options: try tls.apply(to: common.options()))
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
