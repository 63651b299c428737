internal import EventLoop

/// How a server or a client runs. Every value has a default; set what you need.
///
/// Both backends honour every option. Times are above zero unless said otherwise. What cannot work
/// is refused by `Server.init` with `.invalidOption`, its name and what would be right. OPTIONS.md
/// lists all of them, with the counters that show them acting.
public struct Options: Sendable {
    /// The kernel interface.
    public var backend: Backend = .automatic
    /// How many event loops, each with a thread: 1 to 1024.
    public var loops: Loops = .one
    /// Every loop listens for itself (SO_REUSEPORT) instead of one acceptor handing connections
    /// out. A second server on the same address is then possible. When one stops it serves who
    /// waits for it; the few that come between its last look and its close are reset by the kernel,
    /// nearly none if `net.ipv4.tcp_migrate_req` is 1.
    public var reusePort = false
    /// How an acceptor picks a loop.
    public var balancer: Balancer = .roundRobin
    /// A peer's end is told by `onHalfClose` and writing goes on, instead of closing the
    /// connection.
    public var allowHalfClosure = false
    /// Binds each loop to a processor of its own, as far as they reach: loop n to the n-th of those
    /// that the thread which starts the server may use.
    public var pinLoops = false
    /// Set on each TCP socket.
    public var tcp = TCP()
    /// Set on each UDP socket.
    public var udp = UDP()
    /// Set on the file of each Unix socket.
    public var unix = Unix()
    /// What a peer can make the server hold.
    public var limits = Limits()
    /// How long a connection may take.
    public var timeouts = Timeouts()
    /// Threads for `Connection.offload`.
    public var workers = Workers()
    /// Callbacks that hold their loop for longer are counted and logged: every other connection of
    /// the loop waits for them.
    public var slowTurn: Duration = .milliseconds(100)

    /// How long a loop goes on looking for events after the last one, before it sleeps in the
    /// kernel; zero: it sleeps at once. Takes the processor for that time, so give each loop one
    /// of its own. For few connections that need an answer soon. At most one second.
    public var busyPoll: Duration = .zero
    /// After a turn with 32 completions or more, how long the next wait collects as many before it
    /// returns, so that one kernel entry serves more; zero: it returns with the first. Over
    /// loopback entries fell by a third and the processor time not at all; where entering the
    /// kernel is dearer there may be more to gain. io_uring on Linux 6.12 or later only; epoll has
    /// no such wait and goes on as it does. At most 10 ms.
    public var minimumWait: Duration = .zero

    public init() {}

    /// The usual ones in a line; the rest by assignment.
    public init(backend: Backend = .automatic, loops: Loops = .one, reusePort: Bool = false) {
        self.backend = backend
        self.loops = loops
        self.reusePort = reusePort
    }

    /// For few connections that need an answer soon: loops look for events for 200 µs before they
    /// sleep. Half of the time of one small request is the sleeper's waking: over loopback the
    /// median fell from 54 to 20 µs on epoll and from 53 to 20 µs on io_uring. From 8 busy
    /// connections on there is nothing to gain. Takes a processor for each loop while it is busy.
    public static var lowLatency: Options { Options().with { $0.busyPoll = .microseconds(200) } }

    /// For as many requests as the machine can serve: a loop for each processor, bound to it, each
    /// with a listener of its own, and sleeping at once. What one request costs is that of the
    /// defaults.
    public static var highThroughput: Options {
        Options(loops: .perCore, reusePort: true).with { $0.pinLoops = true }
    }

    /// A changed copy, for one expression: `.init(loops: .perCore).with { $0.limits.connections =
    /// 10_000 }`.
    public func with(_ change: (inout Options) -> Void) -> Options {
        var copy = self
        change(&copy)
        return copy
    }

    /// Set on each socket.
    public struct TCP: Sendable {
        /// Send small segments at once.
        public var noDelay = true
        /// Silence before the first probe, 1 to 32767 whole seconds; nil: no probes.
        public var keepAlive: Duration?
        /// Connections that may wait to be accepted, at least 1; the kernel cuts it to
        /// `net.core.somaxconn`.
        public var backlog = 4096
        /// A connection is accepted when its first bytes have come, or after this time, 1 to 3600
        /// whole seconds (TCP_DEFER_ACCEPT); nil: at once. For protocols in which the client speaks
        /// first.
        public var deferAccept: Duration?
    }

    /// Set on each UDP socket. The offloads need Linux 5.0 or later; `start` throws `.unsupported`
    /// where the kernel knows no such thing.
    ///
    /// On loopback, bursts of 54 datagrams of 1,200 bytes, processor time of the server for each:
    /// receiving 0.69 us without and 0.20 with the offload, sending 3.59 and 0.49, on both backends
    /// alike. Single datagrams gain nothing.
    public struct UDP: Sendable {
        /// The kernel may keep datagrams of one sender and size together on their way in (UDP_GRO);
        /// `onDatagram`, and `onTraffic` of connected sockets, still run once for each as it was
        /// sent.
        public var receiveOffload = false
        /// Datagrams of one size that follow each other to one receiver go to the kernel as one
        /// message, which it or the device cuts again (UDP_SEGMENT); the last of them may be
        /// shorter. What the kernel refuses to cut, since a device cannot or the size exceeds the
        /// path's, is sent one by one and counted in `Statistics.segmentationFallBacks`.
        public var segmentationOffload = false
        /// Others that say the same may listen on the port too (SO_REUSEADDR), in this process or
        /// in another: each gets what is sent to a multicast group that it has joined. What is sent
        /// to the machine alone goes to one of them.
        public var reuseAddress = false
    }

    /// The file of a Unix socket that is listened on; abstract names have none.
    public struct Unix: Sendable {
        /// Its rights, with 0o200 among them, set before anybody can connect, which takes the right
        /// to write. nil: what the process's umask leaves.
        public var mode: UInt16?
    }

    /// What a peer can make the server hold. In bytes, but for `connections`; each at least 1 but
    /// for `outboundLowMark`.
    public struct Limits: Sendable {
        /// At this many, accepting pauses; more wait in the backlog.
        public var connections = Int.max
        /// Connections that one host may have at once, over all listeners; more are closed at once
        /// and counted in `Statistics.hostRefusals`. Unix peers are not counted.
        public var connectionsPerHost = Int.max
        /// Unread bytes that a handler may leave behind before its connection closes with
        /// `.inboundOverflow`. Does not count while the library itself pauses reading, which lets
        /// less than 256 KiB more come.
        public var inboundBytes = 1 << 20
        /// Above this `isWritable` is false, and reading from an accepted connection pauses, unless
        /// it is the source of a pipe or `Connection.readsWhileCongested`. At most `outboundBytes`.
        /// Here and below, each datagram of a `udp://` connection counts for 256 bytes more.
        public var outboundHighMark = 256 << 10
        /// At this or below, reading goes on and `onWritable` is called. 0 to `outboundHighMark`.
        public var outboundLowMark = 64 << 10
        /// Above this the connection is reset, with `.outboundOverflow`.
        public var outboundBytes = 64 << 20
    }

    /// How long a connection may take.
    public struct Timeouts: Sendable {
        /// Without a byte in either direction; nil: forever.
        public var idle: Duration?
        /// Without a byte received, while reading; nil: forever. Unlike `idle` not put off by what
        /// is sent, so that a peer that only takes is noticed.
        public var read: Duration?
        /// Without a byte taken by the peer, while some are owed to it; nil: forever. Noticed
        /// within a quarter more.
        public var write: Duration?
        /// While closing, without a byte being taken; then the connection is reset.
        public var close: Duration = .seconds(10)
        /// For the peer's end after ours was sent and `onClose` was called: of silence, and twice
        /// as long in all. Not waited for where a close can destroy nothing: the peer has
        /// everything and has sent nothing since.
        public var linger: Duration = .seconds(5)
    }

    /// Threads for blocking work, started when first needed.
    public struct Workers: Sendable {
        /// 1 to 1024.
        public var threads = 8
        /// Work that may wait for a thread, 0 or more. Then `offload` calls its `refused`, or
        /// closes its connection with `.overloaded`.
        public var queued = 1024
        /// Jobs of one connection that may be unfinished, 1 or more. With so many it is not read;
        /// with half of them it is read again.
        public var perConnection = 16
    }

    /// How an acceptor picks the loop for a new connection.
    public enum Balancer: Sendable {
        /// Each in turn.
        case roundRobin
        /// The one with the fewest.
        case leastConnections
        /// The same for one host, unless 64 connections wait to be taken by that loop, which a
        /// callback holds up: then the one with the fewest of the others, so that clients need not
        /// wait. `Statistics.balancerFallBacks` counts those.
        case sourceHash
    }
}

/// How many loops; an integer literal works.
public struct Loops: Sendable, Hashable, ExpressibleByIntegerLiteral {
    let number: Int

    public init(integerLiteral value: Int) { number = value }

    init(_ number: Int) { self.number = number }

    /// This many: 1 to 1024; 0 is `.perCore`, for command lines.
    public static func count(_ number: Int) -> Loops { Loops(number) }
    /// A single loop, which accepts too.
    public static let one: Loops = 1
    /// One for each processor that the process may use.
    public static let perCore: Loops = 0
}

/// An option of a live connection, on either backend. On Unix sockets those of TCP are
/// `.unsupported`.
public enum SocketOption: Sendable {
    /// TCP_NODELAY.
    case noDelay(Bool)
    /// SO_KEEPALIVE with its times, 1 to 32767 seconds, cut to whole ones; a count of 1 to 127.
    case keepAlive(idle: Duration, interval: Duration, count: Int)
    /// SO_KEEPALIVE off.
    case noKeepAlive
    /// SO_LINGER: nil turns it off, `.zero` makes the close a reset. Any other time is refused: it
    /// would block the loop.
    case linger(Duration?)
    /// SO_RCVBUF, in bytes, 0 to 2147483647; the kernel doubles and bounds it.
    case receiveBuffer(Int)
    /// SO_SNDBUF, in bytes, 0 to 2147483647; the kernel doubles and bounds it.
    case sendBuffer(Int)
    /// TCP_QUICKACK.
    case quickAck(Bool)
    /// TCP_USER_TIMEOUT, 0 to 2147483647 milliseconds; 0 is the kernel's own.
    case userTimeout(Duration)
}
