// The pages that may open a WebSocket. A browser sends the origin of the page (RFC 6454, 7), and no
// script can change that.

public enum OriginRule: Sendable, Equatable {
    /// Every page.
    case any
    /// The pages whose origin has the host and the port of the Host field. The scheme does not
    /// count, since a proxy may have removed the TLS.
    case sameHost
    /// The pages of these origins.
    case listed([String])

    /// Returns whether pages of the origin may connect to the host.
    func allows(_ origin: String, host: String) -> Bool {
        switch self {
        case .any: return true
        case .sameHost:
            guard let (_, authority) = Self.parts(origin) else { return false }
            return Self.isEqual(authority, host)
        case .listed(let origins): return origins.contains(origin)
        }
    }

    /// Returns whether the text is an origin in the form in which browsers send it: a scheme, a
    /// host and perhaps a port, in lower case. A browser sends no port that is the scheme's own.
    public static func isOrigin(_ text: String) -> Bool {
        guard let (scheme, authority) = parts(text), scheme.first?.isLetter == true,
            scheme.utf8.allSatisfy({ isLowerCase($0) || "+-.".utf8.contains($0) }),
            !authority.isEmpty,
            authority.utf8.allSatisfy({ isLowerCase($0) || "-._~:[]%".utf8.contains($0) })
        else { return false }
        return !(scheme == "http" && authority.hasSuffix(":80"))
            && !(scheme == "https" && authority.hasSuffix(":443"))
            && !authority.hasSuffix(":")
    }

    private static func parts(_ origin: String) -> (scheme: Substring, authority: Substring)? {
        guard let separator = origin.firstRange(of: "://") else { return nil }
        return (origin[..<separator.lowerBound], origin[separator.upperBound...])
    }

    private static func isLowerCase(_ byte: UInt8) -> Bool {
        0x61...0x7A ~= byte || 0x30...0x39 ~= byte
    }

    /// Compares hosts, whose case does not count.
    private static func isEqual(_ one: Substring, _ other: String) -> Bool {
        one.utf8.elementsEqual(other.utf8) { lowered($0) == lowered($1) }
    }

    private static func lowered(_ byte: UInt8) -> UInt8 {
        0x41...0x5A ~= byte ? byte | 0x20 : byte
    }
}
