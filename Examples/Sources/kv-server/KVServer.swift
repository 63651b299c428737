// Keeps keys in memory and speaks the Redis protocol until SIGTERM or SIGINT; then it drains and
// exits 0.
import ArgumentParser
import KVStore
import NetAPI
import ServerCommand

@main
struct KVServer: ServerCommand {
    static let configuration = CommandConfiguration(
        commandName: "kv-server", abstract: "Keeps keys in memory; speaks the Redis protocol.")

    @OptionGroup var common: ServerOptions

    func run() throws {
        let options = try common.options().with {
            // A request is read whole: this is Redis's client-query-buffer-limit.
            $0.limits.inboundBytes = 1 << 30
            // Replies stop at the high mark, so one of them can go above it: for that there must be
            // room, since a value may have 512 MiB. Messages have a limit of their own.
            $0.limits.outboundBytes = 1 << 30
        }
        let server = try Server(
            KVHandler(Database(isShared: common.loops != 1)),
            listen: try common.addresses(defaultPort: 6379),
            options: options)
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
