import Epoll
import EventLoop
import Simulation
import Uring

/// Every driver that the contract is held against. None of its tests names one.
enum DriverKind: String, CaseIterable {
    case epoll
    case ioUring
    /// So small that every queue runs full and every buffer is fought over.
    case ioUringTiny
    /// As on a kernel that refuses to limit a multishot receive.
    case ioUringUnlimited
    case simulated
    /// The simulated driver at its most unkind within the contract.
    case turbulent

    func makeWorld() throws -> any DriverWorld {
        switch self {
        case .epoll: KernelWorld(driver: try EpollDriver())
        case .ioUring: KernelWorld(driver: try UringDriver())
        case .ioUringTiny: KernelWorld(driver: try UringDriver(.tiny))
        case .ioUringUnlimited: KernelWorld(driver: try UringDriver(limitsReceives: false))
        case .simulated: SimulatedWorld(plan: .calm)
        case .turbulent: SimulatedWorld(plan: .turbulent)
        }
    }
}
