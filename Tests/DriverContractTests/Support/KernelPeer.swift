import MillraceEventLoop
import MillraceTestSupport

/// A client of the kernel's.
final class KernelPeer: TestPeer {
    var readLimit = 0
    private(set) var received: [UInt8] = []
    private(set) var sentCount = 0
    private(set) var sawEndOfStream = false
    private(set) var sawReset = false

    /// Nil once it is closed.
    private var socket: StreamSocket?
    private var outbox: [UInt8] = []
    private var outboxHead = 0
    private var endsWhenSent = false
    private var buffer = [UInt8](repeating: 0, count: 262_144)

    init(connectedTo address: SocketAddress, smallBuffer: Bool) throws {
        let text: String
        switch address {
        case .v4(_, let port): text = "tcp://\(address.hostText ?? ""):\(port)"
        case .unix(let name, abstract: true): text = "unix://@\(name)"
        case .v6, .unix: preconditionFailure("these peers use IPv4 and abstract names")
        }
        socket = try StreamSocket(
            to: KernelAddress(text), receiveBuffer: smallBuffer ? 4096 : nil)
    }

    func send(_ bytes: [UInt8]) {
        outbox += bytes
        flush()
    }

    func shutdownWrite() {
        endsWhenSent = true
        flush()
    }

    func reset() {
        socket?.reset()
        socket = nil
    }

    func close() { socket = nil }

    func takeTurn() {
        flush()
        var left = readLimit
        while let socket, left > 0, !sawEndOfStream, !sawReset {
            let reception = try? buffer.withUnsafeMutableBytes {
                try socket.receiveSome(.init(rebasing: $0[..<min(left, $0.count)]))
            }
            switch reception {
            case .bytes(let count):
                received += buffer[..<count]
                left -= count
            case .nothingYet: return
            case .end(.clean): sawEndOfStream = true
            case .end(.reset), nil: sawReset = true
            }
        }
    }

    private func flush() {
        while let socket, outboxHead < outbox.count {
            let sent = try? outbox.withUnsafeBytes {
                try socket.sendSome(.init(rebasing: $0[outboxHead...]))
            }
            guard let count = sent, count > 0 else {
                if sent == nil { sawReset = true }
                return
            }
            outboxHead += count
            sentCount += count
        }
        if endsWhenSent { socket?.shutdownWrite() }
    }
}
