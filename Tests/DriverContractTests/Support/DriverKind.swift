import Epoll
import EventLoop
import Simulation

/// Every driver that the contract is held against. None of its tests names one.
enum DriverKind: String, CaseIterable {
    case epoll
    case simulated
    /// The simulated driver at its most unkind within the contract.
    case turbulent

    func makeWorld() throws -> any DriverWorld {
        switch self {
        case .epoll: KernelWorld(driver: try EpollDriver())
        case .simulated: SimulatedWorld(plan: .calm)
        case .turbulent: SimulatedWorld(plan: .turbulent)
        }
    }
}
