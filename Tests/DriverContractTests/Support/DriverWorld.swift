import MillraceEventLoop
import MillraceTestSupport

/// A driver with its sockets and peers, for a test of the contract. Each test uses it from one
/// thread, except for `elsewhere`.
protocol DriverWorld: AnyObject {
    var driver: any Driver { get }
    var sockets: any Sockets { get }
    /// The time that deadlines refer to.
    var clock: Nanoseconds { get }

    /// Calls `driver.wait(until:)`, and takes as long as that does in a loop.
    func wait(until deadline: Nanoseconds?) throws
    /// Lets time pass without the driver.
    func pause(_ time: Nanoseconds)
    /// Runs `action` `count` times from outside the loop, one `interval` apart, the first after
    /// one.
    func elsewhere(
        _ count: Int, every interval: Nanoseconds, _ action: @escaping @Sendable () -> Void)

    func address(_ transport: Transport) -> SocketAddress
    /// With a small buffer the peer's socket holds few unread bytes.
    func connect(to address: SocketAddress, smallBuffer: Bool) throws -> any TestPeer
    /// Opens descriptors until none is left. Only on a thread with its own descriptor table.
    func exhaustDescriptors()
    func makeRoomForDescriptors(_ count: Int)

    /// The violations that the world itself found, read after everything is closed.
    func complaints() -> [String]
}

/// The other end of a connection. It acts in its turns; each wait of a test gives it one.
protocol TestPeer: AnyObject {
    /// The most bytes that it reads in a turn; 0 for none.
    var readLimit: Int { get set }
    var received: [UInt8] { get }
    /// The bytes that its socket has accepted.
    var sentCount: Int { get }
    var sawEndOfStream: Bool { get }
    var sawReset: Bool { get }

    /// Sends in order, as the socket has room.
    func send(_ bytes: [UInt8])
    /// Ends its sending side after all bytes passed to `send`.
    func shutdownWrite()
    func reset()
    func close()
    func takeTurn()
}

enum Transport: String, CaseIterable {
    case tcp
    case unix
}
