// A server that keeps keys in memory and speaks the Redis protocol. At SIGTERM or SIGINT, it drains
// its connections and exits with 0.
import ArgumentParser
import KVStore
import NetAPI
import ServerCommand
import ServerTLS

@main
struct KVServer: ServerCommand {
    static let configuration = CommandConfiguration(
        commandName: "kv-server", abstract: "Serves keys from memory over the Redis protocol.")

    @OptionGroup var common: ServerOptions
    @OptionGroup var tls: TLSOptions

    @Option(
        help: "The longest reply and the longest message, in MiB; a longer reply becomes an error."
    )
    var replyLimit = 1024

    @Option(help: "MiB of replies that a client may leave unread before its requests wait.")
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
        let options = try tls.apply(to: common.options()).with {
            // A request is buffered until it is complete; this is Redis's
            // client-query-buffer-limit.
            $0.limits.inboundBytes = 1 << 30
            // Replies and messages each stop at their own limit, but the last one may exceed it.
            // The short ones of a transaction, which has been executed by then, do not stop at all.
            // Its requests are up to 1 GiB, and no short reply has five times as many bytes.
            $0.limits.outboundBytes = (replyLimit + unreadLimit + 5_184) << 20
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
