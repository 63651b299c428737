internal import Glibc
internal import MillraceEpoll
internal import MillraceEventLoop
internal import MillraceUring

/// The kernel interface that a server runs on. Only this file knows which backends there are.
public struct Backend: Sendable, Hashable, CustomStringConvertible {
    public let description: String

    /// io_uring where it works, else epoll. The reason for epoll is logged, and `Server.backend`
    /// reports it. The environment variable `MILLRACE_BACKEND` (`epoll` or `io_uring`) replaces
    /// this choice.
    public static let automatic = Backend(description: "automatic")
    /// Completions, one kernel entry per turn. Where a kernel or a sandbox forbids it,
    /// `Server.init` throws `.backendUnavailable` with the cause.
    public static let ioUring = Backend(description: "io_uring")
    /// Readiness, level-triggered. Works on every Linux.
    public static let epoll = Backend(description: "epoll")
    /// io_uring with queues so small that each of them runs full; for tests.
    package static let ioUringTiny = Backend(description: "io_uring (tiny)")
    /// io_uring with the features of Linux 6.1 only.
    package static let ioUringDebian12 = Backend(description: "io_uring (as on Debian 12)")
    /// io_uring with only the features that every kernel has.
    package static let ioUringPlain = Backend(description: "io_uring (plain)")

    /// Parses a name from a command line: `auto`, `automatic`, `epoll` or `io_uring`. Throws
    /// `.invalidOption`.
    public init(parsing name: String) throws(NetError) {
        guard let backend = Backend(named: name) else {
            throw .invalidOption(
                "the backend", name.debugDescription, "give auto, epoll or io_uring")
        }
        self = backend
    }

    fileprivate init?(named name: String) {
        switch name {
        case "auto", "automatic": self = .automatic
        case "epoll": self = .epoll
        case "io_uring": self = .ioUring
        default: return nil
        }
    }

    init(description: String) { self.description = description }
}

/// The settings with which rings are made.
private struct RingOptions {
    var sizes = UringSizes()
    /// In microseconds.
    var minimumWait: UInt32 = 0
    var features = UringFeatures.all
}

/// The backend that a server runs on.
struct ChosenBackend: Sendable {
    typealias Report = @Sendable (LoopReport) -> Void

    private static let environmentName = "MILLRACE_BACKEND"

    let backend: Backend
    /// The reason for a fallback to this backend.
    let fallBack: FallBack
    let makeDriver: @Sendable (Report) throws -> any Driver
    let sockets: any Sockets

    /// Chooses the backend. Throws `.backendUnavailable`, or `.invalidOption` for a wrong
    /// `MILLRACE_BACKEND`.
    static func choose(_ options: Options) throws(NetError) -> ChosenBackend {
        var wanted = options.backend
        var ring = RingOptions()
        ring.minimumWait = UInt32(try options.minimumWaitTime() / 1000)
        if wanted == .automatic, let name = getenv(environmentName).map({ String(cString: $0) }),
            !name.isEmpty
        {
            guard let named = Backend(named: name) else {
                throw .invalidOption(
                    "\(environmentName) in the environment", name.debugDescription,
                    "set it to epoll or io_uring, or not at all")
            }
            wanted = named
        }
        switch wanted {
        case .epoll: return epoll()
        case .automatic:
            if let refusal = UringDriver.unavailability {
                return epoll(insteadBecause: refusal.reason)
            }
            return automatic(ring)
        case .ioUringTiny:
            ring.sizes = .tiny
            return ioUring(wanted, ring)
        case .ioUringDebian12:
            ring.features = .debian12
            return ioUring(wanted, ring)
        case .ioUringPlain:
            ring.features = .plain
            return ioUring(wanted, ring)
        default:
            if let refusal = UringDriver.unavailability { throw .ioUringUnavailable(refusal) }
            return ioUring(wanted, ring)
        }
    }

    private static func epoll(insteadBecause reason: String? = nil) -> ChosenBackend {
        ChosenBackend(
            backend: .epoll, fallBack: FallBack(reason), makeDriver: { _ in try EpollDriver() },
            sockets: KernelSockets())
    }

    private static func ioUring(_ backend: Backend, _ ring: RingOptions) -> ChosenBackend {
        ChosenBackend(
            backend: backend, fallBack: FallBack(nil),
            makeDriver: { report in
                do throws(SystemError) {
                    return try makeUringDriver(ring, report)
                } catch {
                    throw NetError.ioUringUnavailable(UringRefusal(error))
                }
            }, sockets: KernelSockets())
    }

    /// Uses io_uring, but the kernel may refuse memory for one more ring. That loop then runs on
    /// epoll. The others do not notice, because all drivers have one contract.
    private static func automatic(_ ring: RingOptions) -> ChosenBackend {
        let fallBack = FallBack(nil)
        return ChosenBackend(
            backend: .ioUring, fallBack: fallBack,
            makeDriver: { report in
                do throws(SystemError) {
                    return try makeUringDriver(ring, report)
                } catch {
                    let reason = UringRefusal(error).reason
                    fallBack.note("not every loop has io_uring: \(reason)")
                    report(.backendFellBack(reason))
                    return try EpollDriver()
                }
            }, sockets: KernelSockets())
    }

    private static func makeUringDriver(
        _ ring: RingOptions, _ report: Report
    ) throws(SystemError) -> any Driver {
        let driver = try UringDriver(
            ring.sizes, minimumWait: ring.minimumWait, features: ring.features)
        if driver.sizes.submissions < ring.sizes.submissions {
            report(.ringShrunk(entries: Int(driver.sizes.submissions)))
        }
        if driver.minimumWait < ring.minimumWait { report(.minimumWaitIgnored) }
        return driver
    }
}

/// The reason for which some loops do not run on the wanted backend; known for a loop when it
/// starts.
final class FallBack: Sendable {
    private let text: Monitor<String?>

    init(_ reason: String?) { text = Monitor(reason) }

    var reason: String? { text.withLock { $0 } }

    func note(_ reason: String) { text.withLock { $0 = $0 ?? reason } }
}

extension NetError {
    static func ioUringUnavailable(_ refusal: UringRefusal) -> NetError {
        let others = "use .automatic or .epoll"
        return NetError(
            .backendUnavailable, "io_uring cannot run here: \(refusal.reason)",
            refusal.remedy.isEmpty ? others : "\(refusal.remedy), or \(others)")
    }
}
