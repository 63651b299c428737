// A server of calls with ids: many calls at once on one connection, each answered when it is ready.
// `rpc-client` is its client.
import ArgumentParser
import NetAPI
import ServerCommand

@main
struct RPCServer: ServerCommand {
    static let configuration = CommandConfiguration(
        commandName: "rpc-server", abstract: "Answers calls with ids, each when it is ready.")

    @OptionGroup var common: ServerOptions

    func run() throws {
        let server = try Server(
            CallHandler(), listen: try common.addresses(), options: try common.options())
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
