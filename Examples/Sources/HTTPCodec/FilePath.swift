// Conversion of a request's target to the names of folders and a file, and back. A target that
// could lead out of the root is refused.

public enum FilePath {
    /// The only hidden name that is served (RFC 8615), and only directly under the root.
    private static let wellKnown: StaticString = ".well-known"

    /// Returns the decoded names between the slashes; empty for the root itself. Returns nil for a
    /// malformed path and for one that could lead elsewhere: dots, hidden files, an encoded zero
    /// byte or an encoded slash.
    public static func names(in path: UnsafeRawBufferPointer) -> [[UInt8]]? {
        var names: [[UInt8]] = []
        // Decoding creates no slash, so the path can be split first.
        for part in path.split(separator: Byte.slash) {
            let bytes = UnsafeRawBufferPointer(rebasing: part)
            guard let name = decoded(bytes), !isHidden(name) || names.isEmpty && isWellKnown(name)
            else { return nil }
            names.append(name)
        }
        return names
    }

    /// Returns the bytes with percent escapes decoded. Returns nil for a malformed escape and for
    /// one of a zero byte or a slash, which would change in meaning when decoded.
    public static func decoded(_ path: UnsafeRawBufferPointer) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(path.count)
        var index = 0
        while index < path.count {
            var byte = path[index]
            index += 1
            if byte == Byte.percent {
                guard index + 1 < path.count, let high = Byte.hexDigit(path[index]),
                    let low = Byte.hexDigit(path[index + 1])
                else { return nil }
                byte = UInt8(high << 4 | low)
                index += 2
                if byte == 0 || byte == Byte.slash { return nil }
            }
            bytes.append(byte)
        }
        return bytes
    }

    /// Returns the path of a folder, from the root on, encoded for a field. It begins with one
    /// slash only, because a path with two slashes would name another host.
    public static func location(of names: [[UInt8]]) -> [UInt8] {
        var bytes = [Byte.slash]
        for name in names {
            for byte in name {
                if ByteSet.name.contains(byte) {
                    bytes.append(byte)
                } else {
                    bytes.append(Byte.percent)
                    bytes.append(hexDigits[Int(byte >> 4)])
                    bytes.append(hexDigits[Int(byte & 15)])
                }
            }
            bytes.append(Byte.slash)
        }
        return bytes
    }

    private static let hexDigits = Array("0123456789ABCDEF".utf8)

    /// Returns whether a decoded name begins with a dot, which includes `.` and `..`.
    private static func isHidden(_ name: [UInt8]) -> Bool { name.first == Byte.dot }

    private static func isWellKnown(_ name: [UInt8]) -> Bool {
        name.withUnsafeBytes { $0.equals(wellKnown) }
    }
}
