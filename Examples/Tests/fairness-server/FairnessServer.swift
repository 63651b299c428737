// The echo server of Benchmarks/fairness: on request its handler takes its time, so that one peer
// can ask for more of a loop than its share.
import ArgumentParser
import NetAPI
import ServerCommand

struct UnequalEcho: EventHandler {
    /// The shape of requests that are dear.
    static let requestBytes = 64
    /// What one callback answers at most of them: a handler must not keep its loop for itself.
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
        // What is left is not shown again by itself until more bytes come.
        if connection.buffered >= Self.requestBytes { connection.handle.wake() }
    }

    /// Busy, as one who computes is.
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
        abstract: "Sends back what it receives, and takes its time where it is told to.")

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
