/// The socket on which a service manager receives messages, played by the test.
import CMillraceLinux
import Glibc
import MillraceTestSupport
import NetAPI

final class NotifySocket: Sendable {
    /// The value of NOTIFY_SOCKET.
    let name: String
    private let descriptor: CInt

    init(isAbstract: Bool = false) throws {
        let path = TemporaryPath.make("notify")
        name = isAbstract ? "@" + path.dropFirst() : path
        descriptor = try KernelAddress(.unix(name)).bind(CInt(MR_SOCK_DGRAM | MR_SOCK_CLOEXEC))
    }

    deinit {
        close(descriptor)
        if name.hasPrefix("/") { unlink(name) }
    }

    /// Returns the next message; nil if none comes within the limit.
    func receive(within limit: Duration = patience) -> String? {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let deadline = Deadline(limit)
        while poll(&entry, 1, deadline.milliseconds) <= 0 {
            if deadline.isPast { return nil }
        }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// A manager whose messages come here.
    func manager(watchdog: Duration? = nil) throws -> ServiceManager {
        var variables = ["NOTIFY_SOCKET": name]
        if let watchdog { variables["WATCHDOG_USEC"] = "\(Int(watchdog / .microseconds(1)))" }
        return try ServiceManager(variables: variables, process: getpid())
    }
}
