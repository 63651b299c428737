/// An address in the form of connect(2) and bind(2), its sockets, and the texts of addresses.
import Glibc

public struct KernelAddress {
    private var storage = sockaddr_storage()
    private var length: socklen_t = 0

    public let text: String
    public var family: CInt { CInt(storage.ss_family) }

    /// Reads a text like `tcp://127.0.0.1:80`, `unix:///run/app` or `unix://@abstract`.
    public init(_ text: String) throws {
        self.text = text
        guard let mark = text.firstRange(of: "://") else { throw SystemFailure(text, EINVAL) }
        let rest = String(text[mark.upperBound...])
        if text.hasPrefix("unix") {
            setUnix(rest)
        } else {
            try setInternet(rest)
        }
    }

    private mutating func setUnix(_ name: String) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        let isAbstract = name.hasPrefix("@")
        if isAbstract { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        // The length of an abstract name counts; a path ends at its zero.
        length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count + (isAbstract ? 0 : 1))
        withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: sockaddr_un.self) }
    }

    private mutating func setInternet(_ text: String) throws {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else { throw SystemFailure(text, EINVAL) }
        let host = text[..<colon].filter { $0 != "[" && $0 != "]" }
        var v4 = sockaddr_in()
        if inet_pton(AF_INET, host, &v4.sin_addr) == 1 {
            v4.sin_family = sa_family_t(AF_INET)
            v4.sin_port = port.bigEndian
            length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: v4, as: sockaddr_in.self) }
            return
        }
        var v6 = sockaddr_in6()
        guard inet_pton(AF_INET6, host, &v6.sin6_addr) == 1 else {
            throw SystemFailure(text, EINVAL)
        }
        v6.sin6_family = sa_family_t(AF_INET6)
        v6.sin6_port = port.bigEndian
        length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: v6, as: sockaddr_in6.self) }
    }

    public func withKernelForm<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        withUnsafePointer(to: storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    /// The type of a stream's socket, with the flags of socket(2) for close-on-exec and calls that
    /// do not block.
    public static let stream = CInt(
        SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)

    /// Creates a socket for this address.
    public func makeSocket(_ type: CInt = stream) throws -> CInt {
        let descriptor = socket(family, type, 0)
        guard descriptor >= 0 else { throw SystemFailure("socket") }
        return descriptor
    }

    /// Creates a socket that is bound to this address; with a backlog, it listens.
    public func bind(_ type: CInt = stream, backlog: CInt? = nil) throws -> CInt {
        let descriptor = try makeSocket(type)
        guard withKernelForm({ Glibc.bind(descriptor, $0, $1) }) == 0,
            backlog.map({ listen(descriptor, $0) }) ?? 0 == 0
        else {
            defer { close(descriptor) }
            throw SystemFailure("bind \(text)")
        }
        return descriptor
    }
}

/// The text of a TCP socket's own address, or of its peer's: the value that the other side must
/// report.
public func addressText(of descriptor: CInt, peer: Bool = false) throws -> String {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            peer ? getpeername(descriptor, $0, &length) : getsockname(descriptor, $0, &length)
        }
    }
    guard result == 0 else { throw SystemFailure("getsockname") }
    var host = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let size = socklen_t(host.count)
    switch CInt(storage.ss_family) {
    case AF_INET:
        var address = withUnsafeBytes(of: storage) { $0.load(as: sockaddr_in.self) }
        inet_ntop(AF_INET, &address.sin_addr, &host, size)
        return "tcp://\(text(host)):\(UInt16(bigEndian: address.sin_port))"
    case AF_INET6:
        var address = withUnsafeBytes(of: storage) { $0.load(as: sockaddr_in6.self) }
        inet_ntop(AF_INET6, &address.sin6_addr, &host, size)
        return "tcp://[\(text(host))]:\(UInt16(bigEndian: address.sin6_port))"
    default: throw SystemFailure("family", EAFNOSUPPORT)
    }
}

private func text(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
