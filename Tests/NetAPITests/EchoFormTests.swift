/// Tests of ten clients with a mebibyte each, over every transport and every way of writing, with
/// each listener arrangement and each balancer.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

/// The transport of an echo, and the way in which it is written.
enum EchoKind: String, CaseIterable, Sendable {
    case tcp
    /// From another thread, by the connection's handle.
    case tcpAsync
    /// Like `tcpAsync`, but in several pieces.
    case tcpPieces
    case udp
    case unix
    case unixAsync

    var address: Address {
        switch self {
        case .tcp, .tcpAsync, .tcpPieces: anyPort
        case .udp: "udp://127.0.0.1:0"
        case .unix, .unixAsync: .unix(TemporaryPath.make())
        }
    }

    func handler() -> DatagramTestHandler {
        var handler = DatagramTestHandler()
        switch self {
        case .tcp, .udp, .unix: break
        case .tcpAsync, .unixAsync:
            let courier = Courier()
            handler.traffic = { connection in
                let (handle, bytes) = (connection.handle, connection.readArray())
                courier.run { handle.write(bytes) }
                return .none
            }
        case .tcpPieces:
            let courier = Courier()
            handler.traffic = { connection in
                let (handle, bytes) = (connection.handle, connection.readArray())
                courier.run {
                    let cuts = [0, bytes.count / 3, bytes.count / 2, bytes.count]
                    handle.write(zip(cuts, cuts.dropFirst()).map { Array(bytes[$0..<$1]) })
                }
                return .none
            }
        }
        return handler
    }
}

struct EchoForm: Sendable, CustomTestStringConvertible {
    let kind: EchoKind
    let reusePort: Bool
    let balancer: Options.Balancer

    static let all = EchoKind.allCases.flatMap { kind in
        [false, true].flatMap { reusePort in
            [Options.Balancer.roundRobin, .leastConnections, .sourceHash].map {
                EchoForm(kind: kind, reusePort: reusePort, balancer: $0)
            }
        }
    }

    var testDescription: String {
        "\(kind.rawValue), \(reusePort ? "reusePort" : "acceptor"), \(balancer)"
    }
}

@Suite struct EchoFormTests {
    @Test("ten clients receive the bytes that they sent", arguments: Setup.all, EchoForm.all)
    func tenClientsGetBackWhatTheySent(_ setup: Setup, _ form: EchoForm) throws {
        let options = setup.options {
            $0.reusePort = form.reusePort
            $0.balancer = form.balancer
        }
        let server = try Server(
            form.kind.handler(), listen: form.kind.address, options: options)
        try serve(server) { server in
            if form.kind == .udp {
                try Self.exchangeDatagrams(with: server.addresses)
            } else {
                try Self.exchange(with: server, places: [0])
            }
            // The last bytes may arrive before the loop has counted them as sent.
            let wanted = 10 * (form.kind == .udp ? 32 * 1024 : 1 << 20)
            try eventually("as much is counted out as in") {
                let counted = server.server.statistics
                return counted.bytesIn == wanted && counted.bytesOut == wanted
            }
        }
    }

    @Test(
        "one server with two addresses each of TCP, UDP and Unix echoes on all of them",
        arguments: Setup.all)
    func twoOfEachOnOneServerAllEcho(_ setup: Setup) throws {
        let listen: [Address] = [
            "tcp://127.0.0.1:0", "udp://127.0.0.1:0", .unix(TemporaryPath.make()),
            "tcp://[::1]:0", "udp://[::1]:0", .unix("@\(TemporaryPath.make())"),
        ]
        let server = try Server(DatagramTestHandler(), listen: listen, options: setup.options())
        try serve(server) { server in
            let kinds = server.addresses.map { $0.description.prefix(3) }
            #expect(kinds == ["tcp", "udp", "uni", "tcp", "udp", "uni"])
            try Self.exchange(with: server, places: [0, 2, 3, 5])
            try Self.exchangeDatagrams(with: [server.addresses[1], server.addresses[4]])
        }
    }

    /// Exchanges a mebibyte with each of ten clients spread over `places`.
    private static func exchange(with server: TestServer, places: [Int]) throws {
        var flows = try (0..<10).map { index in
            Flow(
                try server.connect(places[index % places.count]), stream: index, length: 1 << 20)
        }
        try Exchange.run(&flows)
    }

    private static func exchangeDatagrams(with addresses: [Address]) throws {
        let peers = try (0..<10).map { try DatagramPeer(to: addresses[$0 % addresses.count]) }
        try exchangeRounds(peers, rounds: 32)
    }
}
