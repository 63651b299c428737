import Glibc

/// The system's lookup of a name: getaddrinfo(3), which reads /etc/hosts and asks the name servers.
package enum SystemLookup {
    /// Looks up the addresses of a host, in the order of the system (RFC 6724). Blocks its thread,
    /// for as long as the name servers' time-outs last. The ports are 0.
    package static func addresses(
        of host: String, family: AddressFamily?
    ) -> Result<[SocketAddress], any Error> {
        var hints = addrinfo()
        // With one kind of socket each address comes once.
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_family =
            switch family {
            case .v4: AF_INET
            case .v6: AF_INET6
            case nil: AF_UNSPEC
            }
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, nil, &hints, &list)
        let number = errno
        guard result == 0 else {
            return .failure(
                result == EAI_SYSTEM
                    ? SystemError(number, "getaddrinfo") : LookupError(code: result))
        }
        defer { freeaddrinfo(list) }
        var found: [SocketAddress] = []
        var next = list
        while let entry = next?.pointee {
            let bytes = UnsafeRawBufferPointer(
                start: entry.ai_addr, count: Int(entry.ai_addrlen))
            if let address = SocketAddress(kernelForm: bytes) { found.append(address) }
            next = entry.ai_next
        }
        return .success(found)
    }
}

/// An error of getaddrinfo(3), in its words.
package struct LookupError: Error, CustomStringConvertible {
    /// EAI_NONAME, EAI_AGAIN and so on.
    package let code: Int32

    package var description: String { String(cString: gai_strerror(code)) }
}
