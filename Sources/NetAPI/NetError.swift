internal import Glibc
internal import MillraceEventLoop

/// An error, with its cause and its remedy in words.
public struct NetError: Error, Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The kind of an error, for programs. More may come.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        let name: String
        public var description: String { name }

        /// The connection, loop or server has ended.
        public static let closed = Code(name: "closed")
        public static let invalidAddress = Code(name: "invalidAddress")
        /// The host of an address could not be looked up, or has no address.
        public static let unresolved = Code(name: "unresolved")
        public static let addressInUse = Code(name: "addressInUse")
        public static let permissionDenied = Code(name: "permissionDenied")
        public static let backendUnavailable = Code(name: "backendUnavailable")
        public static let invalidOption = Code(name: "invalidOption")
        /// A variable of the environment has a value that it cannot have.
        public static let invalidEnvironment = Code(name: "invalidEnvironment")
        public static let frameTooLong = Code(name: "frameTooLong")
        public static let timedOut = Code(name: "timedOut")
        /// A loop's mailbox, the queue of the worker pool or that of lookups is full, or a loop has
        /// as many connections as it can have, or a server as many addresses.
        public static let overloaded = Code(name: "overloaded")
        /// TLS failed: the handshake, the verification of the peer, or later the stream.
        public static let insecure = Code(name: "insecure")
        /// Not possible on this kind of socket, or not at this moment.
        public static let unsupported = Code(name: "unsupported")
        /// Another error, of the kernel or from `onBoot`; see `errno`.
        public static let system = Code(name: "system")
    }

    /// The kind of the error.
    public let code: Code
    /// The cause, in words.
    public let cause: String
    /// The remedy, in words; sometimes empty.
    public let remedy: String
    /// The kernel's error number, if there is one.
    public let errno: Int32?
    /// The step of a connect by name, or of the lookup of a name to listen on, that failed; nil for
    /// other errors.
    public let step: Step?

    init(
        _ code: Code, _ cause: String, _ remedy: String = "", errno: Int32? = nil,
        step: Step? = nil
    ) {
        self.step = step
        self.code = code
        self.cause = cause
        self.remedy = remedy
        self.errno = errno
    }

    /// Cause and remedy in one line.
    public var description: String { remedy.isEmpty ? cause : "\(cause); \(remedy)" }

    public var debugDescription: String { "NetError.\(code): \(description)" }
}

extension NetError {
    static let closed = NetError(.closed, "the connection is closed")

    static func frameTooLong(_ size: Int, _ limit: Int) -> NetError {
        NetError(
            .frameTooLong, "a frame of \(size) bytes exceeds \(limit)",
            "raise `limit:` if the peer is honest")
    }

    static func overloaded(loop: Int, capacity: Int) -> NetError {
        NetError(
            .overloaded, "the mailbox of loop \(loop) holds \(capacity) messages already",
            "post less, or wait for `sent`")
    }

    static let tooMuchOffloaded = NetError(
        .overloaded, "too much blocking work waits already",
        "raise workers.threads or workers.queued, or take in less")

    static func invalidOption(_ name: String, _ value: Any, _ remedy: String) -> NetError {
        NetError(.invalidOption, "\(name) is \(value)", remedy)
    }

    init(_ error: SystemError) {
        self.init(
            .system, "\(error.call): \(error.message) (\(error.name))", errno: error.number)
    }

    /// Makes an error with the words of a filter. Package, for the filters of other targets.
    package init(insecure cause: String, remedy: String = "") {
        self.init(.insecure, cause, remedy)
    }

    /// Makes an error about a setting of a filter.
    package init(setting name: String, _ value: Any, remedy: String) {
        self = .invalidOption(name, value, remedy)
    }

    /// Makes an error about a file.
    package init(path: String, errno number: Int32) {
        let error = SystemError(number, "open")
        self.init(.system, "\(path): \(error.message) (\(error.name))", errno: number)
    }

    init(insecure error: any Error) {
        switch error {
        case let error as NetError: self = error
        case let error as SystemError: self.init(error)
        default: self.init(.insecure, "\(error)")
        }
    }

    static func lacksProvider(_ address: Address, _ option: String) -> NetError {
        NetError(
            .invalidOption, "\(address) asks for TLS, and options.\(option) is nil",
            "import NetTLS and set it")
    }

    static func proxyHeaderToSend(_ address: Address) -> NetError {
        NetError(
            .unsupported, "\(address): only a listener can expect a PROXY header",
            "connect without ?proxy, and write the header as the first bytes")
    }

    init(listeningOn address: Address, _ error: SystemError) {
        let what = "\(address): \(error.message) (\(error.name))"
        switch error.number {
        case EADDRINUSE:
            self.init(
                .addressInUse, what, Self.remedyForUse(of: address), errno: error.number)
        case EEXIST where address.inherited != nil:
            self.init(
                .invalidAddress, "\(address): this descriptor is given twice", "give it once",
                errno: error.number)
        case EEXIST:
            self.init(
                .addressInUse, "\(address): a file that is no socket is there",
                "choose another path, or remove it", errno: error.number)
        case EINVAL where address.inherited != nil, EPROTOTYPE, ENOTSOCK, EBADF:
            self.init(
                .invalidAddress,
                "\(address): this descriptor is no "
                    + (address.isDatagram ? "UDP socket" : "listening stream socket"),
                address.isDatagram
                    ? "pass one that is bound" : "pass one that is bound and listens",
                errno: error.number)
        case EINVAL where address.lacksZone:
            self.init(lackingZone: address)
        case EAFNOSUPPORT, EADDRNOTAVAIL:
            let lacksV6 = address.isEveryV6Host || error.number == EAFNOSUPPORT
            self.init(
                .invalidAddress,
                lacksV6 ? "\(address): this machine has no IPv6, or has it switched off" : what,
                lacksV6
                    ? "listen on an address of IPv4" : "listen on an address that this machine has",
                errno: error.number)
        case EACCES, EPERM:
            let remedy =
                address.isUnix
                ? "check the rights of the directory"
                : "use a port above 1023 or grant CAP_NET_BIND_SERVICE"
            self.init(.permissionDenied, what, remedy, errno: error.number)
        case ENOPROTOOPT where address.isDatagram:
            self.init(
                .unsupported, "\(address): this kernel has no offload for datagrams",
                "leave udp.receiveOffload and udp.segmentationOffload off", errno: error.number)
        case ENAMETOOLONG:
            self.init(
                .invalidAddress, "\(address): the path is too long",
                "a Unix path has at most 107 bytes", errno: error.number)
        case EMFILE, ENFILE:
            self.init(.system, what, "raise the limit of open files", errno: error.number)
        case EOVERFLOW:
            self.init(
                .overloaded, "\(address): the server has as many addresses as it can have",
                "stop listening on some")
        default: self.init(.system, what, errno: error.number)
        }
    }

    private static func remedyForUse(of address: Address) -> String {
        if address.isUnix { return "stop the other server, or choose another path or name" }
        if address.isDatagram {
            return "stop the other program, choose port 0, or set udp.reuseAddress in both"
        }
        return "stop the other server, choose port 0, or set reusePort in both"
    }

    private init(lackingZone address: Address) {
        self.init(
            .invalidAddress, "\(address) is an address of one network, and does not say of which",
            "name its interface behind the host, as in [fe80::1%eth0]", errno: EINVAL)
    }

    init(connectingTo address: Address, _ error: any Error) {
        switch error {
        case let error as SystemError: self.init(connectingTo: address, error)
        case let failure as ConnectFailure: self.init(connectingTo: address, failure)
        case let error as NetError:
            self.init(
                error.code, "\(address): \(error.cause)", error.remedy, errno: error.errno)
        default: self.init(.insecure, "\(address): \(error)")
        }
    }

    private init(connectingTo address: Address, _ error: SystemError) {
        switch error.number {
        case _ where address.port == 0:
            self.init(
                .invalidAddress, "\(address): nobody can be reached at port 0",
                "give the port on which the other side listens", errno: error.number)
        case EINVAL where address.lacksZone: self.init(lackingZone: address)
        case ETIMEDOUT:
            self.init(
                .timedOut, "\(address) did not answer in time",
                "check that it is reachable, or allow more time", errno: error.number)
        default:
            self.init(
                .system, "\(address): \(error.message) (\(error.name))", errno: error.number)
        }
    }

    init(adopting descriptor: CInt, _ error: SystemError) {
        switch error.number {
        case ECANCELED: self = .closed
        case ENOBUFS:
            self.init(
                .overloaded, "a loop has as many connections as it can have",
                "take more loops", errno: error.number)
        default:
            self.init(
                .unsupported, "descriptor \(descriptor): \(error.message)",
                "give a connected stream socket", errno: error.number)
        }
    }

    init(option: SocketOption, _ error: SystemError) {
        if case .other(let level, let name, let value) = option {
            self.init(level, name, "cannot have this value of \(value.count) bytes", error)
            return
        }
        switch error.number {
        case EINVAL:
            self.init(
                .invalidOption, "\(option) has a value that the socket cannot have",
                "linger is nil or zero, times are positive, sizes fit in 31 bits",
                errno: error.number)
        case ENOPROTOOPT, EOPNOTSUPP:
            self.init(
                .unsupported, "\(option) does not exist on this kind of socket",
                "set it on TCP connections only", errno: error.number)
        default: self.init(error)
        }
    }

    /// Makes an error about an option that is given by its numbers.
    init(_ level: CInt, _ name: CInt, _ refusal: String, _ error: SystemError) {
        let option = "option \(name) of level \(level)"
        switch error.number {
        case EINVAL, EDOM, ERANGE:
            self.init(
                .invalidOption, "\(option) \(refusal): \(error.message) (\(error.name))",
                "see the manual of the option for its size and values", errno: error.number)
        case ENOPROTOOPT, EOPNOTSUPP:
            self.init(
                .unsupported, "\(option) does not exist on this kind of socket",
                "check both numbers, and whether this kernel has it", errno: error.number)
        default: self.init(error)
        }
    }
}
