internal import Epoll
internal import EventLoop
internal import Glibc

/// The kernel interface that a server runs on. The only file that knows which there are.
public struct Backend: Sendable, Hashable, CustomStringConvertible {
    public let description: String

    /// The best one that works here; why another did not is logged, and told by `Server.backend`.
    /// The environment variable `MILLRACE_BACKEND` (`epoll` or `io_uring`) replaces it.
    public static let automatic = Backend(description: "automatic")
    /// Completions. Not built yet: asking for it is refused with a clear error.
    public static let ioUring = Backend(description: "io_uring")
    /// Readiness, level-triggered. Works on every Linux.
    public static let epoll = Backend(description: "epoll")

    /// By its name, as on a command line: `auto`, `automatic`, `epoll` or `io_uring`. Throws
    /// `.invalidOption`.
    public init(parsing name: String) throws(NetError) {
        switch name {
        case "auto", "automatic": self = .automatic
        case "epoll": self = .epoll
        case "io_uring": self = .ioUring
        default:
            throw .invalidOption(
                "the backend", name.debugDescription, "give auto, epoll or io_uring")
        }
    }

    init(description: String) { self.description = description }
}

/// What a server was given to run on.
struct ChosenBackend: Sendable {
    let backend: Backend
    /// Why it is not another one, after a fall-back.
    let reason: String?
    let makeDriver: @Sendable () throws(SystemError) -> any Driver
    let sockets: any Sockets

    /// Throws `.backendUnavailable`, or `.invalidOption` for a wrong `MILLRACE_BACKEND`.
    static func choose(_ wanted: Backend) throws(NetError) -> ChosenBackend {
        var wanted = wanted
        if wanted == .automatic, let name = getenv("MILLRACE_BACKEND") {
            wanted = try Backend(parsing: String(cString: name))
        }
        switch wanted {
        case .automatic, .epoll: return epoll
        default:
            throw NetError(
                .backendUnavailable, "\(wanted) is not part of this version",
                "use .automatic or .epoll")
        }
    }

    private static var epoll: ChosenBackend {
        ChosenBackend(
            backend: .epoll, reason: nil,
            makeDriver: { () throws(SystemError) in try EpollDriver() }, sockets: KernelSockets())
    }
}
