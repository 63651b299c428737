// All fields of a head that was parsed, for protocols that need fields which `RequestHead` lacks.

public struct HeadFields {
    private let bytes: UnsafeRawBufferPointer

    /// Creates the fields of a whole head. `bytes` are those for which `RequestParser.parse(_:)`
    /// returned `.complete`, up to that count, so the syntax is known to be valid.
    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Calls `body` with the name and the value of each field line, in their order. The value has
    /// no blanks around it.
    public func forEach(
        _ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) {
        var start = 0
        var isAfterRequestLine = false
        while let end = bytes[start...].firstIndex(of: Byte.lineFeed) {
            // Each line ends with CR LF, since the parser refuses others.
            let line = UnsafeRawBufferPointer(rebasing: bytes[start..<max(start, end - 1)])
            start = end + 1
            guard isAfterRequestLine else {
                // One empty line may precede the request line.
                isAfterRequestLine = !line.isEmpty
                continue
            }
            guard let colon = line.firstIndex(of: Byte.colon) else { return }
            body(
                UnsafeRawBufferPointer(rebasing: line[..<colon]),
                UnsafeRawBufferPointer(rebasing: line[(colon + 1)...]).trimmingBlanks())
        }
    }
}
