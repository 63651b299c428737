// The server of Scripts/soak. It echoes in several ways, each on an address of its own, and prints
// its statistics every second.
import ArgumentParser
import NetAPI
import ServerCommand

/// The way in which an address echoes bytes.
enum Manner: CaseIterable {
    /// Echoes at once.
    case echo
    /// Echoes through another thread.
    case offload
    /// Echoes through a connection to the first address.
    case pipe
    /// Echoes after a delay in milliseconds: the number of bytes modulo 20.
    case late
}

struct Soaked: EventHandler, DatagramHandler {
    /// The most bytes of one job.
    static let pieceBytes = 4096

    /// Whether a delayed echo is pending. Later bytes wait behind it.
    let isWaiting = PerConnection(false)

    func onBoot(_ loop: Loop) -> Action {
        if loop.index == 0 { announce(loop.server) }
        return .none
    }

    func onTick(_ loop: Loop) -> Tick {
        guard loop.index == 0 else { return .never }
        let held = loop.server.statistics
        say(
            "held open=\(held.open) lingering=\(held.lingering) accepted=\(held.accepted)"
                + " jobs=\(held.offloadsWaiting) refused_posts=\(held.refusedPosts)"
                + " refused_jobs=\(held.offloadRefusals) drops=\(held.datagramDrops)"
                + " overflows=\(held.overflowCloses) timeouts=\(held.timeouts)"
                + " failed_loops=\(held.failedLoops)")
        return .after(.seconds(1))
    }

    func onOpen(_ connection: Connection) -> Action {
        guard connection.isAccepted, manner(connection) == .pipe else { return .none }
        let addresses = connection.loop.server.boundAddresses
        connection.connect(to: addresses[0], timeout: .seconds(20)) { client, server in
            client.pipe(to: server)
            server.pipe(to: client)
        }
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action {
        switch manner(connection) {
        case .echo: connection.write(connection.next())
        case .pipe: break
        case .offload: offload(connection)
        case .late: answerLate(connection)
        }
        return .none
    }

    func onDatagram(_ datagram: Datagram) -> Action {
        datagram.reply(datagram.bytes)
        return .none
    }

    private func manner(_ connection: Connection) -> Manner {
        let addresses = connection.loop.server.boundAddresses
        let place = addresses.firstIndex(of: connection.localAddress) ?? 0
        return Manner.allCases[place % Manner.allCases.count]
    }

    private func offload(_ connection: Connection) {
        while connection.canOffload, connection.buffered > 0 {
            let count = min(connection.buffered, Self.pieceBytes)
            guard let piece = connection.next(count) else { return }
            let bytes = [UInt8](copying: piece)
            connection.offload({ bytes }, then: { connection, bytes in connection.write(bytes) }) {
                connection in
                connection.write(bytes)
            }
        }
    }

    private func answerLate(_ connection: Connection) {
        guard !connection[isWaiting], connection.buffered > 0 else { return }
        connection[isWaiting] = true
        connection.pauseReading()
        connection.schedule(after: .milliseconds(connection.buffered % 20)) { connection in
            connection[isWaiting] = false
            connection.write(connection.next())
            connection.resumeReading()
        }
    }
}

@main
struct SoakServer: ServerCommand {
    static let configuration = CommandConfiguration(
        commandName: "soak-server", abstract: "Echoes in every way that the library has.")

    @OptionGroup var common: ServerOptions

    @Option(help: "Milliseconds after which a silent connection is closed.")
    var idle = 30_000

    func run() throws {
        var options = try common.options()
        options.timeouts.idle = .milliseconds(idle)
        options.timeouts.write = .seconds(10)
        let server = try Server(Soaked(), listen: try common.addresses(), options: options)
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
