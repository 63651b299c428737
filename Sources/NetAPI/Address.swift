internal import Glibc
package import MillraceEventLoop

/// The address of a listener or a socket: `tcp://host:port`, `tcp4://`, `tcp6://`, `udp://`,
/// `udp4://`, `udp6://`, `unix:///path`, `unix://@abstract`, `fd://3`, `udp+fd://3`. With TLS:
/// `tls://`, `tls4://`, `tls6://`, `tls+unix://`, `tls+fd://`. Behind a proxy: `tcp://:8080?proxy`.
///
/// Hosts are IPv4 or IPv6 in digits, a name, or empty for every address of the machine.
/// `tcp://[::]:9000` serves IPv4 too, `tcp6://` does not. `tcp://:9000` is the same, or IPv4 alone
/// where a machine has no IPv6. A link-local host names its zone: `tcp://[fe80::1%eth0]:9000`.
///
/// A name, as in `tcp://example.org:443`, is looked up by `connect`, or by `start` to listen:
/// `Options.Names`. A 4 or 6 in the scheme selects the family. `localhost` is 127.0.0.1, or `::1`
/// with a 6, without a lookup. Names are ASCII, with at most 253 bytes and 63 for each part. Others
/// are not converted: give the form with `xn--`. With `tls://` the host's name is also the one to
/// verify. `tls://93.184.216.34:443?name=example.org` connects to an address and verifies a name.
///
/// With `?proxy` at the end, to listen only, each connection begins with a header of the PROXY
/// protocol, version 1 or 2, in which the proxy tells the client's address. `remoteAddress` is that
/// address. Let only proxies connect to such a listener: the header is believed.
///
/// `Server.init` and `connect` check literals; use `Address(parsing:)` for text from outside.
public struct Address: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The address as it was written; for the real address of a socket, in the same form.
    public let description: String
    package let socketAddress: SocketAddress?
    let onlyV6: Bool
    package let isDatagram: Bool
    /// Indicates that neither host nor family was given: every address of the machine.
    let isAnyHost: Bool
    /// The host if it is a name. It is looked up unless it is `localhost`.
    let hostName: HostName?
    /// The descriptor of a socket that was bound elsewhere.
    let inherited: CInt?
    /// The layers below the bytes of its connections.
    package let layers: StreamLayers
    /// The name that a server's certificate must have; nil: its address.
    package let serverName: String?

    public init(stringLiteral value: String) {
        self = Self.parse(value) ?? Address(description: value, nil)
    }

    /// Parses text from outside the program. Throws `.invalidAddress`.
    public init(parsing text: String) throws(NetError) {
        guard let address = Self.parse(text) else { throw .invalidAddress(text) }
        self = address
    }

    /// Returns a TCP address of a host, in digits or by name. `Server.init` or `connect(to:)`
    /// reports a wrong host.
    public static func tcp(_ host: String, port: UInt16) -> Address {
        internet("tcp", host, port)
    }

    /// Returns a UDP address of a host, in digits or by name. The call that gets the address
    /// reports a wrong host.
    public static func udp(_ host: String, port: UInt16) -> Address {
        internet("udp", host, port)
    }

    private static func internet(_ scheme: String, _ host: String, _ port: UInt16) -> Address {
        let isBare = host.contains(":") && !host.hasPrefix("[")
        return Address(stringLiteral: "\(scheme)://\(isBare ? "[\(host)]" : host):\(port)")
    }

    /// Returns a Unix address: a path, or with a leading `@` an abstract name.
    public static func unix(_ path: String) -> Address {
        Address(stringLiteral: "unix://\(path)")
    }

    /// Returns the address of a listening stream socket that this process has inherited or made
    /// itself; `fd://3` in text. The server owns the descriptor from `start()` on, even if that
    /// fails. `Server.boundAddresses` reports the address to which it is bound. A Unix path is left
    /// in place at the end.
    public static func inherited(_ descriptor: CInt) -> Address {
        Address(stringLiteral: "fd://\(descriptor)")
    }

    /// Returns the address of a bound UDP socket that this process has inherited or made itself;
    /// `udp+fd://3` in text. It is owned like that of `inherited(_:)`. One loop receives its
    /// datagrams, also with `reusePort`. The program that made the socket has chosen its options.
    public static func inheritedDatagrams(_ descriptor: CInt) -> Address {
        Address(stringLiteral: "udp+fd://\(descriptor)")
    }

    /// The address of a connection that has closed, or whose peer was gone before its address could
    /// be read.
    public static let unknown = Address(description: "unknown", nil)

    /// The port; nil for Unix, inherited and unknown addresses.
    public var port: UInt16? { socketAddress?.port ?? hostName?.port }

    /// Indicates TLS.
    package var isSecured: Bool { layers.contains(.secured) }

    /// Indicates a listener behind a proxy that sends PROXY headers.
    package var isProxied: Bool { layers.contains(.proxied) }

    /// Indicates an address that may be listened on or connected to.
    var isValid: Bool { socketAddress != nil || hostName != nil }

    /// A Unix path in the file system; not the path of an inherited socket, which is bound already.
    package var isPath: Bool {
        guard case .unix(_, abstract: false) = socketAddress else { return false }
        return inherited == nil
    }

    var needsLookup: Bool { socketAddress == nil && hostName != nil }

    /// The name that a server's certificate must have: the one behind `?name=`, or the host's; nil:
    /// the address.
    var verifiedName: String? { serverName ?? hostName?.certificateName }

    /// Returns whether two addresses are the same for the kernel, however they are written. Names
    /// of hosts are not looked up: they are compared as they are written.
    public static func == (one: Address, other: Address) -> Bool {
        guard let first = one.socketAddress, let second = other.socketAddress else {
            return one.description == other.description
        }
        return first.unmapped == second.unmapped
            && one.inherited == other.inherited && one.onlyV6 == other.onlyV6
            && one.isDatagram == other.isDatagram && one.layers == other.layers
            && (!one.isSecured || one.verifiedName == other.verifiedName)
    }

    /// Indicates two stream listeners at one socket address, also with other layers. With port 0
    /// each has another.
    func isSameSocket(as other: Address) -> Bool {
        guard !isDatagram, !other.isDatagram, inherited == nil, other.inherited == nil, port != 0
        else { return false }
        guard let first = socketAddress, let second = other.socketAddress else {
            return socketAddress == nil && other.socketAddress == nil && hostName == other.hostName
        }
        return first.unmapped == second.unmapped
    }

    public func hash(into hasher: inout Hasher) {
        if let socketAddress {
            hasher.combine(socketAddress.unmapped)
        } else {
            hasher.combine(description)
        }
    }

    /// Indicates a link-local address without a zone.
    var lacksZone: Bool { socketAddress?.lacksZone ?? false }

    /// Indicates `[::]`, however it was written.
    var isEveryV6Host: Bool {
        guard case .v6(let bytes, _, _) = socketAddress else { return false }
        return bytes.high == 0 && bytes.low == 0
    }

    var isUnix: Bool {
        if case .unix = socketAddress { true } else { false }
    }

    private init(
        description: String, _ socketAddress: SocketAddress?, onlyV6: Bool = false,
        isDatagram: Bool = false, isAnyHost: Bool = false, hostName: HostName? = nil,
        inherited: CInt? = nil, layers: StreamLayers = [], serverName: String? = nil
    ) {
        self.hostName = hostName
        self.layers = layers
        self.serverName = serverName
        self.isAnyHost = isAnyHost
        self.isDatagram = isDatagram
        self.inherited = inherited
        self.description = description
        self.socketAddress = socketAddress
        self.onlyV6 = onlyV6
    }

    /// Converts a socket's own address.
    package init(
        _ socketAddress: SocketAddress?, isDatagram: Bool = false, layers: StreamLayers = []
    ) {
        guard let socketAddress else {
            self = .unknown
            return
        }
        let isSecured = layers.contains(.secured)
        let place: String
        switch socketAddress {
        case .v4(_, let port), .v6(_, let port, _):
            let scheme = isDatagram ? "udp" : isSecured ? "tls" : "tcp"
            place = "\(scheme)://\(socketAddress.hostText ?? ""):\(port)"
        case .unix(let path, let isAbstract):
            place = "\(isSecured ? "tls+" : "")unix://\(isAbstract ? "@" : "")\(path)"
        }
        self.init(
            description: layers.contains(.proxied) ? place + Self.proxyMark : place, socketAddress,
            isDatagram: isDatagram, layers: layers)
    }

    // MARK: Parsing

    private static func parse(_ text: String) -> Address? {
        guard !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return nil }
        var layers: StreamLayers = []
        var plain = text
        var name: String?
        if plain.hasSuffix(proxyMark) {
            layers.insert(.proxied)
            plain.removeLast(proxyMark.count)
        }
        if plain.hasPrefix("tls"), let secured = parseSecured(plain) {
            layers.insert(.secured)
            (plain, name) = secured
        }
        guard let address = parsePlain(plain) else { return nil }
        guard !layers.isEmpty else { return address }
        // Datagrams have no header, and a server verifies no name of its own.
        if layers.contains(.proxied) && (address.isDatagram || name != nil) { return nil }
        return Address(
            description: text, address.socketAddress, onlyV6: address.onlyV6,
            isAnyHost: address.isAnyHost, hostName: address.hostName,
            inherited: address.inherited, layers: layers, serverName: name)
    }

    /// The end of a listener's address behind a proxy.
    static var proxyMark: String { "?proxy" }

    private static func parsePlain(_ text: String) -> Address? {
        if let path = rest(of: text, after: "unix://") { return parseUnix(text, path) }
        for (scheme, isDatagram) in [("fd://", false), ("udp+fd://", true)] {
            guard let digits = rest(of: text, after: scheme) else { continue }
            guard let number = CInt(digits), number >= 0 else { return nil }
            return Address(
                description: text, .unix("", abstract: false), isDatagram: isDatagram,
                inherited: number)
        }
        for transport in ["tcp", "udp"] {
            for (suffix, family) in [("", nil), ("4", 4), ("6", 6)] {
                if let endpoint = rest(of: text, after: "\(transport)\(suffix)://") {
                    return parseIP(
                        text, endpoint, family: family, isDatagram: transport == "udp")
                }
            }
        }
        return nil
    }

    /// Returns the same address without TLS, and the server's name behind it; nil without TLS.
    private static func parseSecured(_ text: String) -> (plain: String, name: String?)? {
        let schemes = [
            ("tls+unix://", "unix://"), ("tls+fd://", "fd://"), ("tls://", "tcp://"),
            ("tls4://", "tcp4://"), ("tls6://", "tcp6://"),
        ]
        guard let (secured, plain) = schemes.first(where: { text.hasPrefix($0.0) }) else {
            return nil
        }
        let rest = plain + text.dropFirst(secured.count)
        guard
            let (start, end) = rest.firstRange(of: "?name=").map({ ($0.lowerBound, $0.upperBound) })
        else { return (rest, nil) }
        // A dot at the end is the root's, which certificates do not write.
        let name = HostName.certificateName(String(rest[end...]))
        guard isServerName(name) else { return ("", nil) }
        return (String(rest[..<start]), name)
    }

    private static func rest(of text: String, after scheme: String) -> String? {
        text.hasPrefix(scheme) ? String(text.dropFirst(scheme.count)) : nil
    }

    private static func parseUnix(_ text: String, _ path: String) -> Address? {
        let isAbstract = path.hasPrefix("@")
        let name = isAbstract ? String(path.dropFirst()) : path
        guard !name.isEmpty else { return nil }
        return Address(description: text, .unix(name, abstract: isAbstract))
    }

    /// Whether a certificate can have this name. Any other would be verified against nothing.
    static func isServerName(_ name: String) -> Bool {
        !name.isEmpty && !name.hasPrefix(".") && name.utf8.count <= 253
            && name.utf8.allSatisfy { $0.isInHostName }
    }

    private static func parseIP(
        _ text: String, _ endpoint: String, family: Int?, isDatagram: Bool
    ) -> Address? {
        guard let colon = endpoint.lastIndex(of: ":") else { return nil }
        let digits = endpoint[endpoint.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = UInt16(digits)
        else { return nil }
        var host = String(endpoint[..<colon])
        if host.hasPrefix("[") {
            guard host.hasSuffix("]") else { return nil }
            host = String(host.dropFirst().dropLast())
            guard host.contains(":") else { return nil }
        } else if host.contains(":") {
            return nil
        }
        let isAnyHost = host.isEmpty && family == nil
        if host.isEmpty { host = family == 4 ? "0.0.0.0" : "::" }
        let wanted: AddressFamily? = family.map { $0 == 6 ? .v6 : .v4 }
        var name: HostName?
        if host == "localhost" {
            name = HostName(host, family: wanted, port: port)
            host = family == 6 ? "::1" : "127.0.0.1"
        }
        guard let address = SocketAddress(host: host, port: port) else {
            guard !host.contains(":"), let name = HostName(host, family: wanted, port: port)
            else { return nil }
            return Address(
                description: text, nil, onlyV6: family == 6, isDatagram: isDatagram,
                hostName: name)
        }
        if case .v4 = address, family == 6 { return nil }
        if case .v6 = address, family == 4 { return nil }
        return Address(
            description: text, address, onlyV6: family == 6, isDatagram: isDatagram,
            isAnyHost: isAnyHost, hostName: name)
    }
}
