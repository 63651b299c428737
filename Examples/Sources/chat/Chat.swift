// A chat in the browser: one page over HTTP, and a WebSocket for each visitor. At SIGTERM or
// SIGINT, visitors get a close frame before the server exits with 0.
import ArgumentParser
import NetAPI
import ServerCommand
import ServerTLS
import WebSocketCodec

@main
struct Chat: ServerCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat", abstract: "Serves a chat page, and its WebSocket at /ws.")

    @OptionGroup var common: ServerOptions
    @OptionGroup var tls: TLSOptions

    @Option(
        help: ArgumentHelp(
            "An origin whose pages may connect: https://example.org; repeatable. '*': all may.",
            discussion: "Without it, the pages of this server: their origin has the Host's name."))
    var origin: [String] = []

    @Option(help: "The longest message, in bytes; a longer one closes its connection.")
    var messageLimit = 4096

    @Option(help: "Messages and control frames that a client may send in a second.")
    var rateLimit = 50

    @Option(help: "KiB of unread messages at which a slow reader is disconnected.")
    var unreadLimit = 256

    @Option(help: "The number of members with a name at once.")
    var memberLimit = 1000

    @Option(help: "Milliseconds of silence after which a client gets a ping, and later is closed.")
    var pingInterval = 20_000

    @Option(help: "Milliseconds to receive the head of a request, and later the name of a member.")
    var headTimeout = 10_000

    func validate() throws {
        for (name, value, valid) in [
            ("message limit", messageLimit, 1...1 << 20), ("rate limit", rateLimit, 1...1_000_000),
            // The page has to fit.
            ("unread limit", unreadLimit, 16...1 << 20),
            // Each member costs the others an event when it comes, and one when it goes.
            ("member limit", memberLimit, 1...10_000),
            ("ping interval", pingInterval, 1...86_400_000),
            ("head time-out", headTimeout, 1...86_400_000),
        ] where !valid.contains(value) {
            throw ValidationError(
                "a \(name) of \(value); give \(valid.lowerBound) to \(valid.upperBound)")
        }
        let settings = try self.settings()
        guard settings.isConsistent else {
            let least = (4 * settings.eventBytes + 1023) / 1024
            throw ValidationError(
                "--message-limit \(messageLimit) with --unread-limit \(unreadLimit): four of the"
                    + " longest events do not fit; give an --unread-limit of at least \(least)")
        }
    }

    /// Returns the settings of the options. Throws if an origin is malformed.
    private func settings() throws -> ChatSettings {
        var settings = ChatSettings()
        if let wrong = origin.first(where: { $0 != "*" && !OriginRule.isOrigin($0) }) {
            throw ValidationError(
                "no origin: \(wrong); give '*', or a scheme, a host and perhaps a port in lower"
                    + " case, without a path: https://example.org:8443")
        }
        settings.origins =
            origin.contains("*") ? .any : origin.isEmpty ? .sameHost : .listed(origin)
        settings.messageBytes = messageLimit
        settings.framesPerSecond = rateLimit
        settings.members = memberLimit
        settings.pingInterval = .milliseconds(pingInterval)
        settings.headTimeout = .milliseconds(headTimeout)
        settings.unreadBytes = unreadLimit << 10
        return settings
    }

    func run() throws {
        let settings = try self.settings()
        let options = settings.limiting(
            try tls.apply(to: common.options(), protocols: ["http/1.1"]))
        let room = Room(settings)
        let server = try Server(listen: try common.addresses(), options: options) {
            ChatHandler(settings, room)
        }
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
