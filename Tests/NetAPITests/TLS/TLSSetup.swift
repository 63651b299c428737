/// A server and a client with TLS, and the result of their connects.
import MillraceTestSupport
import NetAPI
import NetTLS
import Testing

enum TLSTest {
    static let port: Address = "tls://127.0.0.1:0"

    static func server(
        _ identities: TLSIdentity..., change: (inout TLSServer.Settings) -> Void = { _ in }
    ) throws -> TLSServer {
        var settings = TLSServer.Settings()
        change(&settings)
        let all = identities.isEmpty ? [TestTLS.identity] : identities
        let server = try TLSServer(all[0], settings: settings)
        if all.count > 1 { try server.replace(all) }
        return server
    }

    static func client(
        trusting certificates: TestCertificate = TestTLS.certificate,
        change: (inout TLSClient.Settings) -> Void = { _ in }
    ) throws -> TLSClient {
        var settings = TLSClient.Settings()
        settings.trust = .certificates(certificates.chain)
        change(&settings)
        return try TLSClient(settings: settings)
    }

    /// A handler that greets each client, so that the greeting comes behind the tickets.
    static func greeting() -> TestHandler {
        TestHandler(open: { connection in
            connection.write("hello")
            return .none
        })
    }

    /// Serves an echo with `tls`, and runs `body` with a client whose handler echoes too.
    static func with<Output>(
        _ setup: Setup, _ tls: TLSServer, _ client: TLSClient,
        _ handler: TestHandler = TestHandler(),
        _ body: (Connector, TestServer) throws -> Output
    ) throws -> Output {
        let options = setup.options { $0.tls = tls }
        return try withServer(
            setup, handler, listen: [port, "tcp://127.0.0.1:0"], options: options
        ) {
            server in
            let connector = try Connector(setup, client, server.addresses[0])
            defer { connector.client.stop() }
            return try body(connector, server)
        }
    }
}

/// Connects and reports what was agreed.
struct Connector {
    let client: Client
    let address: Address
    private let log: EventLog

    init(_ setup: Setup, _ tls: TLSClient, _ address: Address) throws {
        var handler = TestHandler()
        handler.traffic = TestHandler.ignore
        log = handler.log
        // One loop, since each keeps sessions of its own.
        client = try Client(
            handler,
            options: setup.options {
                $0.tlsClient = tls
                $0.loops = 1
            })
        try client.start()
        self.address = address
    }

    /// The outcome of one connection: what was agreed, or the error. With `text`, it is sent first
    /// and must come back.
    func connect(as name: String? = nil) throws -> Result<TLSInfo, NetError> {
        let target = try name.map { try Address(parsing: "\(address)?name=\($0)") } ?? address
        let outcome = Shared<Result<TLSInfo, NetError>?>(nil)
        client.connect(to: target) { result in
            outcome.value = result.map { $0.tls! }
        }
        try eventually("the connect to \(target)") { outcome.value != nil }
        return outcome.value!
    }

    /// Like `connect`, but waits for the greeting too: the client then has the tickets before it.
    func connectForTickets() throws -> TLSInfo {
        let greetings = log.count(.traffic)
        let info = try connect().get()
        try log.waitFor(.traffic, count: greetings + 1)
        return info
    }

    /// The text of a connect's error.
    func failure(as name: String? = nil) throws -> String {
        switch try connect(as: name) {
        case .success(let info): "connected by \(info.version)"
        case .failure(let error): "\(error.code): \(error)"
        }
    }
}
