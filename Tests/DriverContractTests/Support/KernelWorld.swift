import CMillraceLinux
import Glibc
import MillraceEventLoop
import MillraceTestSupport

/// A driver over the kernel, with loopback connections.
final class KernelWorld: DriverWorld {
    let driver: any Driver
    let sockets: any Sockets = KernelSockets()
    private var fillers: [CInt] = []
    private var nextName = 0

    init(driver: any Driver) { self.driver = driver }

    deinit { makeRoomForDescriptors(fillers.count) }

    var clock: Nanoseconds { MonotonicClock.now }

    func wait(until deadline: Nanoseconds?) throws { try driver.wait(until: deadline) }

    func pause(_ time: Nanoseconds) { usleep(UInt32(time / 1000)) }

    func elsewhere(
        _ count: Int, every interval: Nanoseconds, _ action: @escaping @Sendable () -> Void
    ) {
        startThread {
            for _ in 0..<count {
                usleep(UInt32(interval / 1000))
                action()
            }
        }
    }

    func address(_ transport: Transport) -> SocketAddress {
        switch transport {
        case .tcp: return .v4(IPv4Bytes(UInt32(0x7F00_0001).bigEndian), port: 0)
        case .unix:
            nextName += 1
            let object = UInt(bitPattern: ObjectIdentifier(self).hashValue)
            return .unix("contract-\(getpid())-\(object)-\(nextName)", abstract: true)
        }
    }

    func connect(to address: SocketAddress, smallBuffer: Bool) throws -> any TestPeer {
        try KernelPeer(connectedTo: address, smallBuffer: smallBuffer)
    }

    func exhaustDescriptors() {
        while true {
            let filler = dup(0)
            guard filler >= 0 else { return }
            fillers.append(filler)
        }
    }

    func makeRoomForDescriptors(_ count: Int) {
        for filler in fillers.suffix(count) { Glibc.close(filler) }
        fillers.removeLast(count)
    }

    func complaints() -> [String] { [] }
}
