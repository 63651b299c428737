import Epoll
import EventLoop
import Glibc
import Simulation
import Uring

/// Every driver that the contract is held against. None of its tests names one.
enum DriverKind: String {
    case epoll
    case ioUring
    /// So small that every queue runs full and every buffer is fought over.
    case ioUringTiny
    /// With what the kernels of Debian 13 and 12 have, with what the oldest has, and with the least.
    case ioUring6_12
    case ioUring6_1
    case ioUring6_0
    case ioUringPlain
    case ioUringPlainTiny
    case simulated
    /// The simulated driver at its most unkind within the contract.
    case turbulent

    /// All, or those that MILLRACE_DRIVERS names, with commas: where time is short.
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
        .epoll, .ioUring, .ioUringTiny, .ioUring6_12, .ioUring6_1, .ioUring6_0, .ioUringPlain,
        .ioUringPlainTiny, .simulated, .turbulent,
    ]

    /// Those with buffers of their own, which bound what comes in one go.
    static var overAKernel: [DriverKind] { allCases.filter { $0 != .simulated && $0 != .turbulent } }

    func makeWorld() throws -> any DriverWorld {
        switch self {
        case .epoll: KernelWorld(driver: try EpollDriver())
        case .ioUring: KernelWorld(driver: try UringDriver())
        case .ioUringTiny: KernelWorld(driver: try UringDriver(.tiny))
        case .ioUring6_12: KernelWorld(driver: try UringDriver(features: .linux6_12))
        case .ioUring6_1: KernelWorld(driver: try UringDriver(features: .linux6_1))
        case .ioUring6_0: KernelWorld(driver: try UringDriver(features: .linux6_0))
        case .ioUringPlain: KernelWorld(driver: try UringDriver(features: .plain))
        case .ioUringPlainTiny: KernelWorld(driver: try UringDriver(.tiny, features: .plain))
        case .simulated: SimulatedWorld(plan: .calm)
        case .turbulent: SimulatedWorld(plan: .turbulent)
        }
    }
}
