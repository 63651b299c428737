// From a target to the names of folders and a file, and back. Refuses whatever could lead out of
// the root.

public enum FilePath {
    /// The one hidden name that is meant to be asked for (RFC 8615), and only under the root.
    private static let wellKnown: StaticString = ".well-known"

    /// The decoded names between the slashes; none for the root itself. Nil for what is malformed
    /// or leads elsewhere: dots, hidden files, a zero byte or a slash behind a percent sign.
    public static func names(in path: UnsafeRawBufferPointer) -> [[UInt8]]? {
        var names: [[UInt8]] = []
        // Decoding makes no slash, so that they may be looked for first.
        for part in path.split(separator: Byte.slash) {
            let bytes = UnsafeRawBufferPointer(rebasing: part)
            guard let name = decoded(bytes), !isHidden(name) || names.isEmpty && isWellKnown(name)
            else { return nil }
            names.append(name)
        }
        return names
    }

    /// Without percent signs; nil for a malformed one, and for one before a zero byte or a slash,
    /// which would mean something else than where it stands as it is.
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

    /// The path of a folder as a field may hold it, from the root on, so that it cannot name
    /// another host, as one that begins with two slashes would.
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

    /// This covers `.` and `..`, after decoding.
    private static func isHidden(_ name: [UInt8]) -> Bool { name.first == Byte.dot }

    private static func isWellKnown(_ name: [UInt8]) -> Bool {
        name.withUnsafeBytes { $0.equals(wellKnown) }
    }
}
