import Glibc
import MillraceSimulation
import NetAPI
import Testing

@testable import MillraceEventLoop

/// Servers whose loops run on threads of their own, over drivers without a kernel: starts that
/// wait for a lookup, and messages to a service manager.
@Suite struct ServerLifeTests {
    private struct Handler: EventHandler {
        func onTraffic(_ connection: Connection) -> Action { .close }
    }

    /// A resolver that never answers.
    private final class Silence: Resolver {
        private let kept = Monitor<[@Sendable (Result<[String], any Error>) -> Void]>([])

        func resolve(
            _ query: HostQuery, answer: @escaping @Sendable (Result<[String], any Error>) -> Void
        ) {
            kept.update { $0.append(answer) }
        }

        /// Waits until it is asked; false if that takes too long.
        func isAsked() -> Bool {
            kept.wait(until: MonotonicClock.now + 30_000_000_000) { $0.isEmpty ? nil : true } != nil
        }
    }

    private static func server(
        _ address: Address, _ change: (inout Options) -> Void
    ) throws -> Server {
        let backend = SimulatedBackend(
            sockets: SimulatedSockets(network: SimulatedNetwork(seed: 1))
        ) { () throws(SystemError) in ThreadDriver() }
        let options = Options(loops: .count(1)).with(change)
        return try Server([address], options, handler: Handler.self, backend: backend) { loop in
            (Handler(), loop == 0)
        }
    }

    /// A server whose start waits for a lookup, on a thread of its own.
    private struct Starting {
        let server: Server
        /// The start's error.
        let outcome = Monitor<NetError?>(nil)

        init() throws {
            let silence = Silence()
            server = try ServerLifeTests.server("tcp://own.test:9000") {
                $0.names.resolver = silence
                $0.names.startTimeout = .seconds(3600)
            }
            try LoopThread(name: "start") { [server, outcome] in
                do throws(NetError) {
                    try server.start()
                } catch {
                    outcome.update { $0 = error }
                }
            }.detach()
            #expect(silence.isAsked())
        }

        /// Waits for the start's error.
        func error() -> NetError? {
            outcome.wait(until: MonotonicClock.now + 30_000_000_000) { $0 }
        }
    }

    private func word(_ body: () throws(NetError) -> String) -> String {
        do throws(NetError) { return try body() } catch { return error.code.description }
    }

    @Test("a stop during the lookups of a start stops the server, which has not failed")
    func stopDuringLookups() throws {
        let starting = try Starting()
        let server = starting.server
        server.requestStop()
        #expect(starting.error()?.code == .closed)
        let isStarted = word { () throws(NetError) in
            try server.start()
            return "started"
        }
        #expect(isStarted == "closed")
        #expect(word { () throws(NetError) in "\(try server.run())" } == "stopped")
    }

    @Test("start on a loop's thread returns at once while another thread starts the server")
    func startOnALoop() throws {
        let starting = try Starting()
        let server = starting.server
        let other = try Self.server("tcp://127.0.0.1:9000") { _ in }
        try other.start()
        defer { other.stop() }
        // First, since the loop would wait for it.
        defer { server.requestStop() }
        let answer = Monitor<String?>(nil)
        _ = other.group?.servingRemotes[0].run { _ in
            let result = Result { try server.start() }
            answer.update { $0 = "\(result)" }
        }
        let found = answer.wait(until: MonotonicClock.now + 30_000_000_000) { $0 }
        #expect(found == "success()")
        #expect(server.group == nil, "it still starts")
    }

    @Test("an address beyond those that a server can have is a typed error")
    func tooManyAddresses() throws {
        let server = try Self.server("tcp://127.0.0.1:9000") { _ in }
        try server.start()
        defer { server.stop() }
        server.group?.handedOut.withLock { open in while open.begin() != nil {} }
        #expect(
            word { () throws(NetError) in
                "\(try server.listen(on: "tcp://127.0.0.1:9001"))"
            } == "overloaded")
    }

    /// In a process of its own, which has no descriptor left once the server runs.
    @Test("a server reports its stop although no descriptor is free")
    func stopWithoutDescriptors() async {
        await #expect(processExitsWith: .success) {
            let name = SocketAddress.unix("millrace-life-\(getpid())", abstract: true)
            let receiver = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue), 0)
            #expect(try name.withKernelForm { bind(receiver, $0, $1) } == 0)
            func receive() -> String {
                var buffer = [UInt8](repeating: 0, count: 64)
                let count = recv(receiver, &buffer, buffer.count, 0)
                return String(decoding: buffer[..<max(0, count)], as: UTF8.self)
            }
            let manager = try ServiceManager(
                variables: ["NOTIFY_SOCKET": "@millrace-life-\(getpid())"], process: 7)
            let server = try ServerLifeTests.server("tcp://127.0.0.1:9000") {
                $0.serviceManager = manager
            }
            try server.start()
            #expect(receive() == "READY=1")
            var limit = rlimit(rlim_cur: 3, rlim_max: 3)
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            #expect(throws: NetError.self) { try manager.notify(.ready) }
            server.requestStop()
            var wait = timeval(tv_sec: 10, tv_usec: 0)
            let size = socklen_t(MemoryLayout<timeval>.size)
            #expect(setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &wait, size) == 0)
            #expect(receive() == "STOPPING=1")
        }
    }
}
