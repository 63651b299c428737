/// Servers at unusual moments, addresses that never answer, loops kept too long.
import Glibc
import MillraceTestSupport
import NetAPI

extension Server {
    /// Starts in bounded time; false if a stop was requested before it could serve.
    @discardableResult
    func startUnlessStopped() throws -> Bool {
        try bounded("Server.start") {
            do throws(NetError) {
                try self.start()
            } catch {
                guard error.code == .closed else { throw error }
                return false
            }
            return true
        }
    }

    /// Returns the error of a start, in bounded time. A server that starts is stopped again.
    func startError() throws -> NetError? {
        try bounded("Server.start") {
            do throws(NetError) {
                try self.start()
                self.stop()
                return nil
            } catch {
                return error
            }
        }
    }
}

/// Returns the error's code, or the result of `body`, as a word for tables.
func word(_ body: () throws -> String) -> String {
    do {
        return try body()
    } catch let error as NetError {
        return "\(error.code)"
    } catch {
        return "\(error)"
    }
}

/// Like `word`, but for a call that may suspend.
func asyncWord(_ body: () async throws -> String) async -> String {
    do {
        return try await body()
    } catch let error as NetError {
        return "\(error.code)"
    } catch {
        return "\(error)"
    }
}

/// Keeps a loop beyond its end.
// @unchecked: written on the loop's thread, and read elsewhere only when that has been joined.
final class LoopBox: @unchecked Sendable {
    var loop: Loop?
}

/// A listener whose backlog stays full: a connect gets no answer.
final class FullBacklog: Sendable {
    enum Kind: String, CaseIterable, Sendable {
        case unix, tcp
    }

    private let listener: RawListener
    /// The clients that fill the backlog.
    private let fillers: Shared<[CInt]>
    private let accepted = Shared<[TestClient]>([])

    var address: Address { listener.address }

    convenience init(_ kind: Kind) throws {
        try self.init(at: kind == .unix ? anyName() : anyPort)
    }

    init(at wanted: Address) throws {
        listener = try RawListener(at: wanted, backlog: 0)
        let place = try KernelAddress(listener.address)
        // The first fills the backlog; the others make sure of that.
        let clients = try (0..<4).map { _ in
            let client = try place.makeSocket()
            _ = place.withKernelForm { connect(client, $0, $1) }
            return client
        }
        var first = pollfd(fd: clients[0], events: Int16(POLLOUT), revents: 0)
        _ = poll(&first, 1, 1000)
        fillers = Shared(clients)
    }

    deinit { for filler in fillers.value { close(filler) } }

    /// Accepts one connection, so that there is room for one more.
    func makeRoom() throws {
        let one = try listener.accept()
        accepted.update { $0.append(one) }
    }

    /// Makes room for the next client, whose host repeats its request within a second.
    func drain() {
        fillers.update { all in
            for filler in all { close(filler) }
            all = []
            while case let accepted = acceptOne(listener.descriptor), accepted >= 0 {
                all.append(accepted)
            }
        }
    }
}
