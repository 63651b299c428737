import RESPCodec

/// What a client has sent since MULTI: the requests as they came, and whether one of them was
/// refused.
final class Transaction {
    /// As much as a single request may have unread.
    private static let mostBytes = 1 << 30

    private(set) var bytes: [UInt8] = []
    private(set) var count = 0
    private(set) var isSpoilt = false

    /// EXEC will execute none of them.
    func spoil() { isSpoilt = true }

    /// False if it is too much.
    func add(_ request: Request) -> Bool {
        bytes += Array("*\(request.count)\r\n".utf8)
        for index in 0..<request.count {
            bytes += Array("$\(request[index].count)\r\n".utf8)
            bytes += request[index]
            bytes += [0x0D, 0x0A]
        }
        count += 1
        return bytes.count <= Self.mostBytes
    }

    /// Each of them in turn.
    func forEach(_ body: (Request) -> Void) {
        var parser = RequestParser()
        bytes.withUnsafeBytes { bytes in
            var place = 0
            while place < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[place...])
                guard case .request(let length) = parser.parse(rest) else { return }
                parser.withRequest(in: rest, body)
                place += length
            }
        }
    }
}
