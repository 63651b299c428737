// An echo server with a task for each connection, in place of callbacks. The task lives on the
// connection's loop.
import ArgumentParser
import NetAPI
import ServerCommand

@main
struct TaskEcho: ServerCommand {
    static let configuration = CommandConfiguration(
        commandName: "task-echo", abstract: "Sends received bytes back, by a task for each client.")

    @OptionGroup var common: ServerOptions

    func run() throws {
        let server = try Server(listen: try common.addresses(), options: try common.options()) {
            connection in
            while try await connection.read({ connection.gather($0) }) != nil {
                try await connection.drained()
            }
        }
        try server.start()
        announce(server)
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
