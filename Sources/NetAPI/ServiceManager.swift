internal import CMillraceLinux
internal import Glibc
internal import MillraceEventLoop

/// The service manager that has started this process, such as systemd: the sockets that it has
/// opened for the process, and the messages that it awaits about the service's state.
///
/// Without a service manager there are no descriptors, and messages have no effect. So a program
/// started from a shell needs addresses of its own and no other code. libsystemd is not needed.
///
///     let manager = try ServiceManager.fromEnvironment()
///     let passed = try manager.addresses()
///     Server.main(
///         Echo(), listen: passed.isEmpty ? ["tcp://[::]:9000"] : passed,
///         options: Options().with { $0.serviceManager = manager })
public struct ServiceManager: Sendable {
    /// A descriptor that the service manager has opened and passed to this process.
    public struct PassedDescriptor: Sendable, Hashable {
        /// The name that `FileDescriptorName=` of a unit gives; without one, systemd passes the
        /// unit's name, like `echo.socket`. `unknown` if the manager has passed no names.
        public let name: String
        /// The descriptor's number, 3 or more.
        public let number: CInt
    }

    /// The descriptors, in the order in which the manager has passed them. They are closed on exec.
    /// The program owns them, until a server that listens on the address of one starts.
    public let descriptors: [PassedDescriptor]
    /// The time within which the manager expects the next `.watchdog`, `WatchdogSec=` in a unit;
    /// nil: it expects none.
    public let watchdogTimeout: Duration?
    let messageAddress: SocketAddress?

    /// Indicates that the manager awaits messages (`Type=notify` in a unit).
    public var awaitsMessages: Bool { messageAddress != nil }

    /// Returns the addresses to listen on for the descriptors with this name, or for all; an empty
    /// list if there is none. `isSecured` gives the streams TLS, like `tls://`.
    ///
    /// Throws `.invalidAddress` for a descriptor that is no listening socket of TCP or Unix streams
    /// and no UDP socket. Throws `.unsupported` for a UDP socket if `isSecured` is true.
    public func addresses(
        named name: String? = nil, isSecured: Bool = false
    ) throws(NetError) -> [Address] {
        var found: [Address] = []
        for descriptor in descriptors where name == nil || descriptor.name == name {
            found.append(try descriptor.address(isSecured: isSecured))
        }
        return found
    }

    // MARK: Messages

    /// A message about the state of the service, in the protocol of sd_notify(3).
    public struct Message: Sendable, Hashable, CustomStringConvertible {
        /// The lines of the message, `READY=1` for example.
        public let description: String

        /// The service serves: its start, or its reload, is complete.
        public static let ready = Message(description: "READY=1")
        /// The service begins to stop.
        public static let stopping = Message(description: "STOPPING=1")
        /// The service is alive. Send it more often than `watchdogTimeout`.
        public static let watchdog = Message(description: "WATCHDOG=1")
        /// The service reloads its configuration, and sends `.ready` when it has. The message
        /// contains the present time, so make it when the reload begins.
        public static var reloading: Message {
            let microseconds = MonotonicClock.now / 1000
            return Message(description: "RELOADING=1\nMONOTONIC_USEC=\(microseconds)")
        }

        /// A line for people, which `systemctl status` shows. Control characters become blanks.
        public static func status(_ text: String) -> Message {
            let line = String(
                decoding: text.utf8.map { $0 < 0x20 || $0 == 0x7F ? 0x20 : $0 }, as: UTF8.self)
            return Message(description: "STATUS=\(line)")
        }
    }

    /// Sends the messages together, in one datagram. Returns false if the manager awaits none.
    ///
    /// Callable from any thread. If the manager's socket is full, it waits for at most a second, on
    /// a thread of a loop not at all. Throws `.system` if the message could not be sent.
    @discardableResult
    public func notify(_ messages: Message...) throws(NetError) -> Bool {
        guard let messageAddress, !messages.isEmpty else { return messageAddress != nil }
        try send(messages, to: messageAddress, on: nil)
        return true
    }

    /// Sends the messages on a socket, or on one of their own.
    func send(
        _ messages: [Message], to address: SocketAddress, on socket: UnixMessageSocket?
    ) throws(NetError) {
        let text = messages.map(\.description).joined(separator: "\n")
        do throws(SystemError) {
            let used = if let socket { socket } else { try UnixMessageSocket() }
            try used.send(text, to: address, waits: !LoopCore.isOnLoopThread)
        } catch {
            let first = text.prefix { $0 != "\n" }
            throw NetError(
                .system,
                "\(first) could not be sent to the service manager: "
                    + "\(error.message) (\(error.name))",
                "check the socket of NOTIFY_SOCKET", errno: error.number)
        }
    }

    init(
        descriptors: [PassedDescriptor], messageAddress: SocketAddress?, watchdogTimeout: Duration?
    ) {
        self.descriptors = descriptors
        self.messageAddress = messageAddress
        self.watchdogTimeout = watchdogTimeout
    }
}

extension ServiceManager.PassedDescriptor {
    /// Returns the address to listen on for this descriptor: a TCP or Unix listener, or a UDP
    /// socket. `isSecured` gives a stream TLS, like `tls://`. The errors are those of
    /// `addresses(named:isSecured:)`.
    public func address(isSecured: Bool = false) throws(NetError) -> Address {
        let type = try option(CInt(MR_SO_TYPE))
        let family = try family()
        switch (type, family) {
        case (CInt(MR_SOCK_STREAM), AF_INET), (CInt(MR_SOCK_STREAM), AF_INET6),
            (CInt(MR_SOCK_STREAM), AF_UNIX):
            guard try option(CInt(MR_SO_ACCEPTCONN)) != 0 else {
                throw refusal("does not listen", "in a socket unit, leave Accept= off")
            }
            return Address(stringLiteral: "\(isSecured ? "tls+" : "")fd://\(number)")
        case (CInt(MR_SOCK_DGRAM), AF_INET), (CInt(MR_SOCK_DGRAM), AF_INET6):
            guard !isSecured else {
                throw NetError(
                    .unsupported, "\(self) is a UDP socket, which cannot have TLS",
                    "use ListenStream= in its socket unit")
            }
            return .inheritedDatagrams(number)
        default:
            throw refusal(
                "is a socket of another kind", "pass TCP, UDP or Unix stream sockets")
        }
    }

    private func refusal(_ fault: String, _ remedy: String, errno: Int32? = nil) -> NetError {
        NetError(.invalidAddress, "\(self) \(fault)", remedy, errno: errno)
    }

    private func option(_ name: CInt) throws(NetError) -> CInt {
        var value: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        guard getsockopt(number, SOL_SOCKET, name, &value, &size) == 0 else {
            throw refusal(
                errno == EBADF ? "is not open" : "is no socket",
                "use descriptors.number for other files", errno: errno)
        }
        return value
    }

    private func family() throws(NetError) -> CInt {
        var address = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(number, $0, &size) }
        }
        guard status == 0 else {
            throw refusal("is no socket", "use descriptors.number for other files", errno: errno)
        }
        return CInt(address.ss_family)
    }
}

extension ServiceManager.PassedDescriptor: CustomStringConvertible {
    /// The number and the name, for messages.
    public var description: String { "descriptor \(number) (\(name))" }
}
