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

    @Option(
        help: "The longest reply and the longest message, in MiB: a request for more gets an error."
    )
    var replyLimit = 1024

    func validate() throws {
        guard 1...1_048_576 ~= replyLimit else {
            throw ValidationError("a reply limit of \(replyLimit) MiB; give 1 to 1048576")
        }
    }

    func run() throws {
        let options = try common.options().with {
            // A request is read whole: this is Redis's client-query-buffer-limit.
            $0.limits.inboundBytes = 1 << 30
            // Replies stop at the high mark and messages at their own, so one of them can go above
            // that: for it there is always room.
            $0.limits.outboundBytes = replyLimit << 20 + 64 << 20
        }
        let server = try Server(
            KVHandler(Database(isShared: common.loops != 1), replyBytes: replyLimit << 20),
            listen: try common.addresses(defaultPort: 6379),
            options: options)
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
