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

    @Option(
        help: "Replies that a client has not taken, in MiB, before its requests wait as well."
    )
    var unreadLimit = 256

    func validate() throws {
        guard 1...1_048_576 ~= unreadLimit else {
            throw ValidationError("an unread limit of \(unreadLimit) MiB; give 1 to 1048576")
        }
        guard 1...1_048_576 ~= replyLimit else {
            throw ValidationError("a reply limit of \(replyLimit) MiB; give 1 to 1048576")
        }
    }

    func run() throws {
        let options = try common.options().with {
            // A request is read whole: this is Redis's client-query-buffer-limit.
            $0.limits.inboundBytes = 1 << 30
            // Replies stop at their limit and messages at their own, so one of them can go above
            // that: for it there is always room.
            $0.limits.outboundBytes = (replyLimit + unreadLimit + 64) << 20
        }
        let database = Database(isShared: common.loops != 1)
        let limits = ClientLimits(reply: replyLimit << 20, unread: unreadLimit << 20)
        let server = try Server(
            listen: try common.addresses(defaultPort: 6379), options: options
        ) {
            KVHandler(database, limits)
        }
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
