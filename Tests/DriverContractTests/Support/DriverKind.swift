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
    /// With what the kernels of Debian 13 and 12 have, and with what the oldest has.
    case ioUringDebian13
    case ioUringDebian12
    case ioUringOldest
    /// With no more than all kernels have.
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
        .epoll, .ioUring, .ioUringTiny, .ioUringDebian13, .ioUringDebian12, .ioUringOldest,
        .ioUringPlain,
        .ioUringPlainTiny, .simulated, .turbulent,
    ]

    /// Those with buffers of their own, which bound what comes in one go.
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
