import Glibc
import MillraceEpoll
import MillraceEventLoop
import MillraceSimulation
import MillraceUring

/// Every driver that the contract tests run on. No test depends on one of them.
enum DriverKind: String {
    case epoll
    case ioUring
    /// Queues and buffers so small that both run out.
    case ioUringTiny
    /// With the io_uring features of the kernels of Debian 13 and 12, and of the oldest kernel with
    /// every operation.
    case ioUringDebian13
    case ioUringDebian12
    case ioUringOldest
    /// With only the features that all supported kernels have.
    case ioUringPlain
    case ioUringPlainTiny
    case simulated
    /// The simulated driver with all faults that the contract allows.
    case turbulent

    /// All drivers, or those that MILLRACE_DRIVERS names, separated by commas, to save time.
    static let allCases: [DriverKind] = {
        guard let names = getenv("MILLRACE_DRIVERS") else { return everyOne }
        return String(cString: names).split(separator: ",").map { name in
            guard let kind = DriverKind(rawValue: String(name)) else {
                preconditionFailure("MILLRACE_DRIVERS names \(name), which is no driver")
            }
            return kind
        }
    }()

    private static let everyOne: [DriverKind] = [
        .epoll, .ioUring, .ioUringTiny, .ioUringDebian13, .ioUringDebian12, .ioUringOldest,
        .ioUringPlain,
        .ioUringPlainTiny, .simulated, .turbulent,
    ]

    /// The drivers with their own buffers, whose size limits one receive.
    static var overAKernel: [DriverKind] {
        allCases.filter { $0 != .simulated && $0 != .turbulent }
    }

    func makeWorld() throws -> any DriverWorld {
        switch self {
        case .epoll: KernelWorld(driver: try EpollDriver())
        case .ioUring: KernelWorld(driver: try UringDriver())
        case .ioUringTiny: KernelWorld(driver: try UringDriver(.tiny))
        case .ioUringDebian13: KernelWorld(driver: try UringDriver(features: .debian13))
        case .ioUringDebian12: KernelWorld(driver: try UringDriver(features: .debian12))
        case .ioUringOldest: KernelWorld(driver: try UringDriver(features: .oldest))
        case .ioUringPlain: KernelWorld(driver: try UringDriver(features: .plain))
        case .ioUringPlainTiny: KernelWorld(driver: try UringDriver(.tiny, features: .plain))
        case .simulated: SimulatedWorld(plan: .calm)
        case .turbulent: SimulatedWorld(plan: .turbulent)
        }
    }
}
