public import Logging
package import MillraceEventLoop

/// The configuration of a server or a client. Every value has a default.
///
/// Both backends support every option unless noted otherwise. Durations are above zero unless noted
/// otherwise. `Server.init` and `Client.init` throw `.invalidOption` for a value that cannot work,
/// with its name and the valid values. OPTIONS.md lists all options and the counters that show
/// their effect.
public struct Options: Sendable {
    /// The kernel interface.
    public var backend: Backend = .automatic
    /// The number of event loops, each with its own thread: 1 to 1024.
    public var loops: Loops = .one
    /// Gives every loop its own listening socket (SO_REUSEPORT), instead of one acceptor that hands
    /// connections to the loops. A second server can then listen on the same address. A stopping
    /// server serves the clients in its backlog first. The kernel resets the few clients that
    /// connect between the last accept and the close: nearly none if `net.ipv4.tcp_migrate_req` is
    /// 1.
    public var reusePort = false
    /// The policy by which an acceptor picks a loop.
    public var balancer: Balancer = .roundRobin
    /// Calls `onHalfClose` when the peer ends its side, instead of closing the connection. Writing
    /// goes on.
    public var allowHalfClosure = false
    /// Pins loop n to the n-th processor that the thread which starts the server may use. After the
    /// last processor comes the first again.
    public var pinLoops = false
    /// The options of TCP sockets.
    public var tcp = TCP()
    /// The options of UDP sockets.
    public var udp = UDP()
    /// The options for the files of Unix sockets.
    public var unix = Unix()
    /// The limits on the memory and the connections that peers can make the server hold.
    public var limits = Limits()
    /// The timeouts of connections.
    public var timeouts = Timeouts()
    /// The thread pool for `Connection.offload`.
    public var workers = Workers()
    /// The lookup of host names, and the connects to their addresses.
    public var names = Names()
    /// The time above which a turn's callbacks are logged and counted in `Statistics.slowTurns`.
    /// Every other connection of the loop waits for them.
    public var slowTurn: Duration = .milliseconds(100)
    /// The logger; nil: one with the label `millrace`. That one is made with the server or client,
    /// so a program may call `LoggingSystem.bootstrap` after it has made its options. Loops log on
    /// their own threads, so a slow log handler delays connections.
    public var logger: Logger?
    /// The service manager to which a server announces its state, such as systemd; nil: none. The
    /// server sends READY=1 when clients can connect, and STOPPING=1 when it begins to stop. While
    /// every loop turns, it sends WATCHDOG=1 in each half of the manager's limit. A message that
    /// cannot be sent is logged. A program with several servers sends its messages itself.
    public var serviceManager: ServiceManager?
    /// The makers of TLS's filters, set through the properties that `NetTLS` adds.
    package var acceptingFilters: (any AcceptingFilters)?
    package var connectingFilters: (any ConnectingFilters)?

    /// The time for which a loop polls for events after the last one, before it sleeps in the
    /// kernel: zero to one second. With zero it sleeps at once. Polling occupies a processor, so
    /// give each loop its own. For few connections that need low latency.
    public var busyPoll: Duration = .zero
    /// The time for which a wait may collect completions after a turn with 32 or more: zero to 10
    /// ms. The wait ends earlier when it has 32, so one kernel entry serves more of them. With zero
    /// it ends with the first completion.
    ///
    /// Over loopback, kernel entries fell by a third and the processor time did not fall. The gain
    /// may be larger where a kernel entry costs more. Works on io_uring with Linux 6.12 or later;
    /// epoll ignores it.
    public var minimumWait: Duration = .zero

    /// Creates options with every default.
    public init() {}

    /// Creates options from the usual values. Set the others by assignment.
    public init(backend: Backend = .automatic, loops: Loops = .one, reusePort: Bool = false) {
        self.backend = backend
        self.loops = loops
        self.reusePort = reusePort
    }

    /// Options for few connections that need low latency: loops poll for events for 200 µs before
    /// they sleep. Waking a sleeping loop is half of the time of one small request. Over loopback,
    /// the median fell from 54 to 20 µs on epoll and from 53 to 20 µs on io_uring. From 8 busy
    /// connections on there is no gain. Each loop occupies a processor while it is busy.
    public static var lowLatency: Options { Options().with { $0.busyPoll = .microseconds(200) } }

    /// Options for as many requests as the machine can serve. There is one loop for each processor,
    /// pinned to it, with its own listening socket and without polling. One request costs the same
    /// as with the defaults.
    public static var highThroughput: Options {
        Options(loops: .perCore, reusePort: true).with { $0.pinLoops = true }
    }

    /// Returns a changed copy, for use in one expression:
    /// `.init(loops: .perCore).with { $0.limits.connections = 10_000 }`.
    public func with(_ change: (inout Options) -> Void) -> Options {
        var copy = self
        change(&copy)
        return copy
    }

    /// The options of TCP sockets.
    public struct TCP: Sendable {
        /// Sends small segments at once (TCP_NODELAY).
        public var noDelay = true
        /// The silence before the first keep-alive probe, 1 to 32767 whole seconds; nil: no probes.
        public var keepAlive: Duration?
        /// The number of connections that may wait to be accepted, at least 1. The kernel limits it
        /// to `net.core.somaxconn`.
        public var backlog = 4096
        /// The time for which accepting a connection waits for its first bytes (TCP_DEFER_ACCEPT):
        /// 1 to 3600 whole seconds; nil: no wait. For protocols in which the client sends first.
        public var deferAccept: Duration?
    }

    /// The options of UDP sockets. The offloads need Linux 5.0 or later; where the kernel has none,
    /// `start` throws `.unsupported`.
    ///
    /// Measured on loopback with bursts of 54 datagrams of 1,200 bytes, as processor time of the
    /// server per datagram. Receiving took 0.69 µs without the offload and 0.20 µs with it, sending
    /// 3.59 and 0.49 µs, on both backends alike. Single datagrams gain nothing.
    public struct UDP: Sendable {
        /// Lets the kernel deliver several datagrams of one sender and size in one piece (UDP_GRO).
        /// `onDatagram`, and `onTraffic` of connected sockets, still run once for each datagram.
        public var receiveOffload = false
        /// Submits consecutive datagrams of one size to one receiver as one message, which the
        /// kernel or the device splits again (UDP_SEGMENT). The last of them may be shorter. A
        /// message that the kernel refuses to split is sent as single datagrams and counted in
        /// `Statistics.segmentationFallBacks`. The causes are a device without support, or a size
        /// above the path's.
        public var segmentationOffload = false
        /// Lets other sockets with this option listen on the port too (SO_REUSEADDR), in this
        /// process or in another. Each of them receives the datagrams of the multicast groups that
        /// it has joined. A unicast datagram reaches one of them.
        public var reuseAddress = false
    }

    /// The options for the file of a listening Unix socket. Abstract names have no file.
    public struct Unix: Sendable {
        /// The permission bits of the file, 0o200 among them, set before a client can connect. A
        /// client needs write permission to connect. nil: the process's umask decides.
        public var mode: UInt16?
    }

    /// The limits on the memory and the connections that peers can make the server hold. They are
    /// in bytes, except for the two numbers of connections. Each is at least 1, except
    /// `outboundLowMark`.
    public struct Limits: Sendable {
        /// The number of connections at which accepting pauses. Further clients wait in the
        /// backlog.
        public var connections = Int.max
        /// The number of connections that one host may have at once, over all listeners. Further
        /// connections are closed at once and counted in `Statistics.hostRefusals`. Unix peers are
        /// not counted.
        public var connectionsPerHost = Int.max
        /// The unread bytes that a handler may leave behind; above this its connection closes with
        /// `.inboundOverflow`. The limit does not count while reading is paused, by the library or
        /// by `Connection.pauseReading()`, after which less than 256 KiB more arrive.
        public var inboundBytes = 1 << 20
        /// The unsent bytes above which `isWritable` is false and reading from an accepted
        /// connection pauses. Reading goes on for the source of a pipe and with
        /// `Connection.readsWhileCongested`. At most `outboundBytes`. In this limit and the next
        /// two, each datagram of a `udp://` connection counts for 256 bytes more.
        public var outboundHighMark = 256 << 10
        /// The unsent bytes at or below which reading resumes and `onWritable` is called: 0 to
        /// `outboundHighMark`.
        public var outboundLowMark = 64 << 10
        /// The unsent bytes above which the connection is reset, with `.outboundOverflow`. Each
        /// open file of `Connection.sendFile` counts for 64 KiB here.
        public var outboundBytes = 64 << 20
    }

    /// The timeouts of connections.
    public struct Timeouts: Sendable {
        /// The time after which a connection without a byte in either direction closes; nil: never.
        /// While unsent bytes wait for the peer, noticed after at most twice the time.
        public var idle: Duration?
        /// The time after which a connection that is being read and receives no byte closes; nil:
        /// never. Unlike with `idle`, sent bytes do not count, so a peer that only receives is
        /// noticed. Does not count after the peer has ended its side.
        public var read: Duration?
        /// The time after which a connection closes if its peer accepts none of its unsent bytes;
        /// nil: never. Noticed within a quarter more.
        public var write: Duration?
        /// The time after which a closing connection is reset if its peer accepts none of its
        /// unsent bytes. Noticed within a quarter more.
        public var close: Duration = .seconds(10)
        /// The silence for which a socket waits for the peer's end of stream, after it has sent its
        /// own and `onClose` was called. The whole wait lasts at most twice as long. The socket
        /// closes without a wait if that can destroy nothing: the peer has everything and has sent
        /// nothing since.
        public var linger: Duration = .seconds(5)
        /// The longest time from an accept to the end of the PROXY header, for addresses that end
        /// in `?proxy`.
        public var proxyHeader: Duration = .seconds(5)
    }

    /// The thread pool for blocking work. Threads start when they are first needed.
    public struct Workers: Sendable {
        /// The largest number of threads: 1 to 1024.
        public var threads = 8
        /// The number of jobs that may wait for a thread, 0 or more. Above it `offload` calls its
        /// `refused`, or closes its connection with `.overloaded`.
        public var queued = 1024
        /// The number of unfinished jobs at which a connection is no longer read, 1 or more. At
        /// half of them reading resumes.
        public var perConnection = 16
    }

    /// The lookup of host names, and the connects to their addresses. Addresses in digits have no
    /// part in it.
    public struct Names: Sendable {
        /// The resolver; nil: the system's, on threads of this server or client.
        public var resolver: (any Resolver)?
        /// The largest number of threads of the system's resolver: 1 to 1024. Each runs one lookup
        /// at a time. They start when first needed.
        public var threads = 8
        /// The number of lookups that may wait for such a thread, 0 or more. Above it a connect
        /// fails with `.overloaded`.
        public var queued = 1024
        /// The time after which the next address of a host is tried beside the ones that have not
        /// answered: 10 ms to 10 s. After a failure it is tried at once.
        public var attemptDelay: Duration = .milliseconds(250)
        /// The time for which `start` waits for the lookups of the names in its list of addresses.
        public var startTimeout: Duration = .seconds(30)
    }

    /// The policy by which an acceptor picks the loop for a new connection.
    public enum Balancer: Sendable {
        /// Each loop in turn.
        case roundRobin
        /// The loop with the fewest connections.
        case leastConnections
        /// The same loop for the same host, unless 64 connections wait for that loop because a
        /// callback blocks it. Then it is the loop with the fewest of the others, so that clients
        /// need not wait. `Statistics.balancerFallBacks` counts those connections.
        case sourceHash
    }
}

/// The number of event loops. An integer literal works.
public struct Loops: Sendable, Hashable, ExpressibleByIntegerLiteral {
    let number: Int

    public init(integerLiteral value: Int) { number = value }

    init(_ number: Int) { self.number = number }

    /// Returns this number of loops: 1 to 1024. 0 is `.perCore`, for command lines.
    public static func count(_ number: Int) -> Loops { Loops(number) }
    /// A single loop, which also accepts.
    public static let one: Loops = 1
    /// One loop for each processor that the process may use.
    public static let perCore: Loops = 0
}

/// An option of an open connection, on either backend. On Unix sockets, TCP options throw
/// `.unsupported`.
public enum SocketOption: Sendable {
    /// TCP_NODELAY.
    case noDelay(Bool)
    /// SO_KEEPALIVE with its times, 1 to 32767 seconds, truncated to whole seconds, and a count of
    /// 1 to 127.
    case keepAlive(idle: Duration, interval: Duration, count: Int)
    /// SO_KEEPALIVE off.
    case noKeepAlive
    /// SO_LINGER: nil turns it off, and `.zero` makes the close a reset. Any other time throws
    /// `.invalidOption`, because it would block the loop.
    case linger(Duration?)
    /// SO_RCVBUF, in bytes, 0 to 2147483647. The kernel doubles and limits it.
    case receiveBuffer(Int)
    /// SO_SNDBUF, in bytes, 0 to 2147483647. The kernel doubles and limits it.
    case sendBuffer(Int)
    /// TCP_QUICKACK.
    case quickAck(Bool)
    /// TCP_USER_TIMEOUT, 0 to 2147483647 milliseconds; 0 is the kernel's own.
    case userTimeout(Duration)
    /// Any other option, by its level and name as `setsockopt` takes them: `SOL_IP` and `IP_TOS`,
    /// for example. `value` has the bytes that the kernel expects, such as the name of a congestion
    /// control. An option on which the library relies, such as a linger time or a time-out of the
    /// socket, can block the loop: use the cases above. A queue of errors (`IP_RECVERR`), which the
    /// library does not read, makes it spin.
    case other(level: CInt, name: CInt, value: [UInt8])

    /// Any other option with an integer, by its level and name.
    public static func integer(level: CInt, name: CInt, _ value: CInt) -> SocketOption {
        .other(level: level, name: name, value: withUnsafeBytes(of: value) { Array($0) })
    }
}
