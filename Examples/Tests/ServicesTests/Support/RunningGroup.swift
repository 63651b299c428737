/// A group of services that runs in a task of its own, and the parts that tests put into one.
import Logging
import NetAPI
import ServiceLifecycle
import TestSupport
import UnixSignals

struct RunningGroup: Sendable {
    let group: ServiceGroup
    let task: Task<Void, any Error>

    init(_ services: [any Service], shutDownBy signals: [UnixSignal] = []) {
        let group = ServiceGroup(
            services: services, gracefulShutdownSignals: signals,
            logger: .silent)
        self.group = group
        task = Task { try await group.run() }
    }

    /// Waits for the end, and throws the error of the group.
    func end() async throws {
        try await patiently("the end of the group") { try await task.value }
    }

    /// Shuts the group down and waits for its end.
    func shutDown() async throws {
        await group.triggerGracefulShutdown()
        try await end()
    }
}

struct Mishap: Error {}

/// A service that fails after `moment`.
struct Failing: Service {
    var moment: @Sendable () async throws -> Void = {}

    func run() async throws {
        try await moment()
        throw Mishap()
    }
}

struct Echo: EventHandler {
    var booted: @Sendable () -> Void = {}
    var opened: @Sendable () -> Void = {}

    func onBoot(_ loop: Loop) -> Action {
        booted()
        return .none
    }

    func onOpen(_ connection: Connection) -> Action {
        opened()
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action {
        connection.write(connection.next())
        return .none
    }
}

extension Logger {
    static let silent = Logger(label: "") { _ in SwiftLogNoOpLogHandler() }
}

extension Form {
    var options: Options {
        Options(backend: backend == "epoll" ? .epoll : .ioUring, loops: .count(loops))
    }
}

let anyPort: Address = "tcp://127.0.0.1:0"

extension Server {
    /// Waits until the server has an address, and returns it.
    func address() async throws -> Address {
        try await eventually("an address") { !boundAddresses.isEmpty }
        return boundAddresses[0]
    }

    /// True once a stop has been requested. Starts a server that has not started.
    var isStopping: Bool { isClosed { () throws(NetError) in try start() } }

    /// True if a client can connect.
    var accepts: Bool {
        boundAddresses.first?.port.map { (try? StreamSocket(port: $0)) != nil } ?? false
    }

    /// True if no socket listens on the addresses that this server had.
    var listensNoMore: Bool { !accepts }
}

extension Client {
    /// True once a stop has been requested. Starts a client that has not started.
    var isStopping: Bool { isClosed { () throws(NetError) in try start() } }
}

private func isClosed(_ start: () throws(NetError) -> Void) -> Bool {
    do throws(NetError) {
        try start()
        return false
    } catch {
        return error.code == .closed
    }
}
