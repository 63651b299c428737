/// Servers at unusual moments, addresses that never answer, loops kept too long.
import CMillraceLinux
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

    let address: Address
    /// The listener, and behind it the clients that fill its backlog.
    private let descriptors: Shared<[CInt]>

    convenience init(_ kind: Kind) throws {
        let name = "@full-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try self.init(at: kind == .unix ? .unix(name) : anyPort)
    }

    init(at wanted: Address) throws {
        let target = try ClientAddress(wanted)
        let listener = try Self.makeSocket(target.family)
        guard target.withKernelForm({ bind(listener, $0, $1) }) == 0, listen(listener, 0) == 0
        else { throw SystemFailure("listen") }
        let isUnix = target.family == AF_UNIX
        let bound = isUnix ? wanted : Address(stringLiteral: try addressText(of: listener))
        let place = try ClientAddress(bound)
        var opened = [listener]
        // The first fills the backlog; the others make sure of that.
        for _ in 0..<4 {
            let client = try Self.makeSocket(place.family)
            opened.append(client)
            _ = place.withKernelForm { connect(client, $0, $1) }
        }
        var first = pollfd(fd: opened[1], events: Int16(POLLOUT), revents: 0)
        _ = poll(&first, 1, 1000)
        address = bound
        descriptors = Shared(opened)
    }

    deinit { for descriptor in descriptors.value { close(descriptor) } }

    /// Makes room for the next client, whose host repeats its request within a second.
    func drain() {
        descriptors.update { all in
            for filler in all.dropFirst() { close(filler) }
            all.removeLast(all.count - 1)
            while case let accepted = acceptOne(all[0]), accepted >= 0 { all.append(accepted) }
        }
    }

    private static func makeSocket(_ family: CInt) throws -> CInt {
        let type = CInt(MR_SOCK_STREAM | MR_SOCK_CLOEXEC | MR_SOCK_NONBLOCK)
        let descriptor = socket(family, type, 0)
        guard descriptor >= 0 else { throw SystemFailure("socket") }
        return descriptor
    }
}
