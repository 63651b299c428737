/// The setups in which every behaviour must hold, each backend with one loop and with several, and
/// helpers that run a server in one.
import Glibc
import MillraceTestSupport
import NetAPI
import NetTLS
import Testing

struct Setup: Sendable, CustomTestStringConvertible {
    let backend: Backend
    let loops: Int

    static let backends: [Backend] = [.epoll, .ioUring, .ioUringTiny]
    static let all = backends.flatMap { backend in
        [1, 2].map { Setup(backend: backend, loops: $0) }
    }
    /// For tests that depend on the way of receiving: also with the io_uring features of older
    /// kernels.
    static let receiving = (backends + [.ioUringDebian12, .ioUringPlain]).flatMap { backend in
        [1, 2].map { Setup(backend: backend, loops: $0) }
    }
    /// For tests that do not depend on the number of loops.
    static let single = all.filter { $0.loops == 1 }
    static let several = all.filter { $0.loops > 1 }

    var testDescription: String { "\(backend) x \(loops)" }

    func options(_ change: (inout Options) -> Void = { _ in }) -> Options {
        Options(backend: backend, loops: .count(loops)).with {
            if TestTLS.isOn {
                $0.tls = TestTLS.server
                $0.tlsClient = TestTLS.client
            }
            change(&$0)
        }
    }
}

/// A free port of IPv4, with TLS if the suite runs over it.
let anyPort: Address = TestTLS.isOn ? "tls://127.0.0.1:0" : "tcp://127.0.0.1:0"

/// An abstract Unix name that no other test uses.
func anyName() -> Address { .unix("@" + TemporaryPath.abstractName()) }

/// A server that runs for the length of a test.
struct TestServer: Sendable {
    let server: Server

    var addresses: [Address] { server.boundAddresses }

    func connect(
        _ place: Int = 0, receiveBuffer: CInt? = nil, sendBuffer: CInt? = nil
    ) throws -> TestClient {
        try TestClient(
            to: addresses[place], receiveBuffer: receiveBuffer, sendBuffer: sendBuffer)
    }

    func waitUntilEmpty() throws {
        try eventually("no connection left") { server.connectionCount == 0 }
    }
}

/// Starts a server, runs `body` and stops the server, each in bounded time. Then checks the rules
/// for any handler.
func withServer<Output>(
    _ setup: Setup, _ handler: TestHandler = TestHandler(), listen: [Address] = [anyPort],
    options: Options? = nil, location: SourceLocation = #_sourceLocation,
    _ body: (TestServer) throws -> Output
) throws -> Output {
    let server = try Server(handler, listen: listen, options: options ?? setup.options())
    let output = try serve(server, body)
    handler.log.checkLives(location)
    #expect(handler.log.count(.open) == handler.log.count(.close), sourceLocation: location)
    return output
}

/// Like `withServer`, but for a handler of another type.
func serve<Output>(_ server: Server, _ body: (TestServer) throws -> Output) throws -> Output {
    try bounded("Server.start") { try server.start() }
    let result = Result { try body(TestServer(server: server)) }
    try bounded("Server.stop") { server.stop(within: .seconds(5)) }
    #expect(server.connectionCount == 0, "connections left after stop")
    return try result.get()
}

/// Like `withServer`, but for a body that suspends.
func withAsyncServer<Output: Sendable>(
    _ setup: Setup, _ handler: TestHandler, options: Options? = nil,
    _ body: (TestServer) async throws -> Output
) async throws -> Output {
    let server = try Server(handler, listen: anyPort, options: options ?? setup.options())
    try bounded("Server.start") { try server.start() }
    let result: Result<Output, any Error>
    do {
        result = .success(try await body(TestServer(server: server)))
    } catch {
        result = .failure(error)
    }
    try await patiently("await Server.stop") { await server.stop(within: .seconds(5)) }
    handler.log.checkLives()
    return try result.get()
}
