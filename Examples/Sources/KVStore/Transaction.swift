import RESPCodec

/// The requests that a client has sent since MULTI, and whether one of them was refused.
final class Transaction {
    /// The limit in bytes, the same as that of a single unread request.
    private static let mostBytes = 1 << 30

    private(set) var bytes: [UInt8] = []
    private(set) var count = 0
    private(set) var isSpoilt = false

    /// Marks the transaction, so that EXEC executes no request of it.
    func spoil() { isSpoilt = true }

    /// Adds a request; returns false if the transaction is too long.
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

    /// Calls `body` with each request in order.
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
