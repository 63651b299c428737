// From a target to the names of folders and a file. Refuses whatever could lead out of the root.

public enum FilePath {
    /// The decoded names between the slashes; none for the root itself. Nil for what is malformed
    /// or leads elsewhere: dots, hidden files, a zero byte or a slash behind a percent sign.
    public static func names(in path: UnsafeRawBufferPointer) -> [[UInt8]]? {
        var names: [[UInt8]] = []
        var name: [UInt8] = []
        var index = 0
        while index <= path.count {
            if index == path.count || path[index] == Byte.slash {
                // This covers `.` and `..`, after decoding.
                if name.first == 0x2E { return nil }
                if !name.isEmpty { names.append(name) }
                name = []
                index += 1
                continue
            }
            var byte = path[index]
            index += 1
            if byte == 0x25 {
                guard index + 1 < path.count, let high = Byte.hexDigit(path[index]),
                    let low = Byte.hexDigit(path[index + 1])
                else { return nil }
                byte = UInt8(high << 4 | low)
                index += 2
                if byte == 0 || byte == Byte.slash { return nil }
            }
            name.append(byte)
        }
        return names
    }
}
