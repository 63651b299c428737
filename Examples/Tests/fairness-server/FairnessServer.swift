// The echo server of `bench fairness`. Its handler can spend extra time on one peer, so that
// this peer uses more of a loop than its share.
import ArgumentParser
import NetAPI
import ServerCommand

struct UnequalEcho: EventHandler {
    /// The size of an expensive request, in bytes.
    static let requestBytes = 64
    /// The limit of expensive requests for one callback: a handler must not occupy its loop.
    static let requestsPerTurn = 32

    let openTime: Duration
    let dearHost: String?
    let dearTime: Duration
    let isDear = PerConnection(false)

    func onBoot(_ loop: Loop) -> Action {
        announce(loop.server)
        return .none
    }

    func onOpen(_ connection: Connection) -> Action {
        spend(openTime)
        if let dearHost {
            let peer = connection.remoteAddress.description
            connection[isDear] = peer.hasPrefix("tcp://\(dearHost):")
        }
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action {
        if dearHost != nil, connection[isDear] {
            answerSome(connection)
        } else {
            connection.write(connection.next())
        }
        return .none
    }

    private func answerSome(_ connection: Connection) {
        for _ in 0..<Self.requestsPerTurn {
            guard let request = connection.next(Self.requestBytes) else { return }
            spend(dearTime)
            connection.write(request)
        }
        // `onTraffic` does not run again for unread bytes before more bytes arrive.
        if connection.buffered >= Self.requestBytes { connection.handle.wake() }
    }

    /// Spends the time busy, like a computation.
    private func spend(_ time: Duration) {
        guard time > .zero else { return }
        let end = ContinuousClock.now + time
        while ContinuousClock.now < end {}
    }
}

@main
struct FairnessServer: ServerCommand {
    static let configuration = CommandConfiguration(
        commandName: "fairness-server",
        abstract: "Echoes received bytes, and spends extra time where the options ask for it.")

    @OptionGroup var common: ServerOptions

    @Option(help: "Microseconds that each new connection takes.")
    var open = 0

    @Option(help: "The address of the peer whose requests, of 64 bytes, take --dear each.")
    var dearHost: String?

    @Option(help: "Microseconds that each request of --dear-host takes.")
    var dear = 20

    func run() throws {
        let handler = UnequalEcho(
            openTime: .microseconds(open), dearHost: dearHost, dearTime: .microseconds(dear))
        let server = try Server(
            handler, listen: try common.addresses(), options: try common.options())
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
