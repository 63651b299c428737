import EventLoop

/// A driver with the sockets and peers that belong to it: what a test of the contract is given.
/// Each test uses it from one thread, except for `elsewhere`.
protocol DriverWorld: AnyObject {
    var driver: any Driver { get }
    var sockets: any Sockets { get }
    /// The time that deadlines are told in.
    var clock: Nanoseconds { get }

    /// `driver.wait(until:)`, which takes as long as it does in a loop.
    func wait(until deadline: Nanoseconds?) throws
    /// Lets time pass without the driver.
    func pause(_ time: Nanoseconds)
    /// Does something `count` times from outside the loop, beginning `interval` from now.
    func elsewhere(
        _ count: Int, every interval: Nanoseconds, _ action: @escaping @Sendable () -> Void)

    func address(_ transport: Transport) -> SocketAddress
    /// With a small buffer it holds little of what it has not read.
    func connect(to address: SocketAddress, smallBuffer: Bool) throws -> any TestPeer
    /// Takes every descriptor that is left. Only on a thread with descriptors of its own.
    func exhaustDescriptors()
    func makeRoomForDescriptors(_ count: Int)

    /// What the world itself has to object to, after everything is closed.
    func complaints() -> [String]
}

/// The other end of a connection. It acts in its turns, of which a test's wait gives it one each
/// time.
protocol TestPeer: AnyObject {
    /// How much it reads in a turn; 0, nothing.
    var readLimit: Int { get set }
    var received: [UInt8] { get }
    /// Bytes that its socket has taken.
    var sentCount: Int { get }
    var sawEndOfStream: Bool { get }
    var sawReset: Bool { get }

    /// Sends in order, now or as there is room.
    func send(_ bytes: [UInt8])
    /// Ends its side behind what it was told to send.
    func shutdownWrite()
    func reset()
    func close()
    func takeTurn()
}

enum Transport: String, CaseIterable {
    case tcp
    case unix
}
