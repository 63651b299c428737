internal import MillraceEventLoop

/// A host in an address that is a name, not digits.
struct HostName: Sendable, Hashable {
    let text: String
    /// The family that the scheme asks for; nil: both.
    let family: AddressFamily?
    let port: UInt16

    /// Returns nil if no host can have this name.
    init?(_ text: String, family: AddressFamily?, port: UInt16) {
        guard Fault(of: text) == nil else { return nil }
        self.text = text
        self.family = family
        self.port = port
    }

    /// The name that a certificate has: without the dot of the root at its end.
    static func certificateName(_ text: String) -> String {
        text.hasSuffix(".") ? String(text.dropLast()) : text
    }

    var certificateName: String { Self.certificateName(text) }

    /// The reason for which a text is no name of a host.
    enum Fault: Equatable {
        case tooLong
        case emptyLabel
        case longLabel
        case notASCII
        case wrongCharacter
        /// The last label is a number. getaddrinfo would read `127.1` or `0x7f000001` as an address
        /// of IPv4, so a check of such a text would not see the address behind it.
        case number

        init?(of text: String) {
            // A dot at the end is the root's: the name is complete, without a search domain.
            let name = text.hasSuffix(".") ? text.dropLast() : text[...]
            guard name.utf8.count <= 253 else {
                self = .tooLong
                return
            }
            if let other = name.utf8.first(where: { !$0.isInHostName }) {
                self = other < 0x80 ? .wrongCharacter : .notASCII
                return
            }
            let labels = name.utf8.split(separator: 0x2E, omittingEmptySubsequences: false)
            guard labels.allSatisfy({ !$0.isEmpty }) else {
                self = .emptyLabel
                return
            }
            guard labels.allSatisfy({ $0.count <= 63 }) else {
                self = .longLabel
                return
            }
            guard let last = labels.last, !Self.isNumber(last) else {
                self = .number
                return
            }
            return nil
        }

        private static func isNumber(_ label: Substring.UTF8View) -> Bool {
            if label.allSatisfy({ (0x30...0x39).contains($0) }) { return true }
            guard label.first == 0x30, let second = label.dropFirst().first, second | 0x20 == 0x78
            else { return false }
            return label.dropFirst(2).allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x66).contains($0 | 0x20)
            }
        }

        var words: (cause: String, remedy: String) {
            switch self {
            case .tooLong: ("its host has more than 253 bytes", "give a name of at most 253 bytes")
            case .emptyLabel:
                ("its host has an empty part", "write it like tcp://example.org:443")
            case .longLabel:
                ("a part of its host has more than 63 bytes", "give parts of at most 63 bytes")
            case .notASCII:
                (
                    "its host is not ASCII, and names are not converted",
                    "give the form that begins with xn--"
                )
            case .wrongCharacter:
                (
                    "its host has a character that no name has",
                    "write it like tcp://127.0.0.1:9000 or tcp://example.org:443"
                )
            case .number:
                (
                    "its host ends with a number, but is no address of IPv4",
                    "write four decimal numbers, like tcp://127.0.0.1:9000"
                )
            }
        }
    }
}

extension NetError {
    /// Makes the error for text that is no address. A host that is no name gets the reason.
    static func invalidAddress(_ text: String) -> NetError {
        guard let (cause, remedy) = hostFault(in: text) else {
            return NetError(
                .invalidAddress, "\(quoted(text)) is not an address",
                "write it like tcp://127.0.0.1:9000, tcp://example.org:443, udp://[::1]:53 or "
                    + "unix:///run/app.sock")
        }
        return NetError(.invalidAddress, "\(quoted(text)) is not an address: \(cause)", remedy)
    }

    private static func hostFault(in text: String) -> (cause: String, remedy: String)? {
        let schemes = ["tcp", "udp", "tls"].flatMap { ["\($0)://", "\($0)4://", "\($0)6://"] }
        guard let scheme = schemes.first(where: { text.hasPrefix($0) }) else { return nil }
        let rest = text.dropFirst(scheme.count)
        let end = scheme.hasPrefix("tls") ? rest.firstRange(of: "?name=")?.lowerBound : nil
        let endpoint = rest[..<(end ?? rest.endIndex)]
        guard !endpoint.isEmpty, !endpoint.contains(where: { "[]/?#@".contains($0) }) else {
            return nil
        }
        guard let colon = endpoint.lastIndex(of: ":") else {
            return ("it has no port", "give the port behind the host, like tcp://127.0.0.1:9000")
        }
        let port = endpoint[endpoint.index(after: colon)...]
        let host = endpoint[..<colon]
        guard UInt16(port) != nil, !host.isEmpty, !host.contains(":"),
            SocketAddress(host: String(host), port: 0) == nil
        else { return nil }
        return HostName.Fault(of: String(host))?.words
    }

    /// Quotes text without line breaks, so that an error stays one line with any text in it.
    private static func quoted(_ text: String) -> String {
        text.utf8.count <= 300 ? text.debugDescription : "\(text.prefix(100))…".debugDescription
    }
}

extension UInt8 {
    /// Letters, digits, and the signs that names of hosts contain.
    var isInHostName: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
        default: false
        }
    }
}
