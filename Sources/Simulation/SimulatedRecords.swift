/// The wire of `SimulatedFilter`: records of a kind, a length and masked bytes.
///
/// The mask is the record's number, so that a record that is lost, repeated or out of order shows
/// as wrong bytes.
package struct SimulatedRecords {
    package enum Kind: UInt8 {
        case hello = 1
        case finished
        case data
        /// No bytes for the program, like a ticket or an update of keys.
        case aside
        case end
        case alert
    }

    private var count: UInt8 = 0

    package init() {}

    /// Returns the next record, with at most 65,535 bytes.
    package mutating func record(
        _ kind: Kind, _ bytes: some Collection<UInt8> = EmptyCollection<UInt8>()
    ) -> [UInt8] {
        let mask = count
        count &+= 1
        return [kind.rawValue, UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)]
            + bytes.map { $0 ^ mask }
    }

    /// The first record of a connection.
    package var hello: [UInt8] {
        var first = SimulatedRecords()
        return first.record(.hello)
    }

    /// Returns a record and drops it from the wire's bytes; nil if it is not complete.
    package mutating func next(from wire: inout ArraySlice<UInt8>) -> (kind: Kind, bytes: [UInt8])?
    {
        let start = wire.startIndex
        guard wire.count >= 3, let kind = Kind(rawValue: wire[start]) else { return nil }
        let length = Int(wire[start + 1]) << 8 | Int(wire[start + 2])
        guard wire.count >= 3 + length else { return nil }
        let mask = count
        count &+= 1
        let bytes = wire[(start + 3)..<(start + 3 + length)].map { $0 ^ mask }
        wire = wire.dropFirst(3 + length)
        return (kind, bytes)
    }

    /// Returns the program's bytes in what came from the wire, and whether the stream's end or an
    /// alert came behind them.
    package static func open(
        _ wire: [UInt8]
    ) -> (plain: [UInt8], hasEnded: Bool, hasFailed: Bool) {
        var records = SimulatedRecords()
        var rest = wire[...]
        var plain: [UInt8] = []
        while let (kind, bytes) = records.next(from: &rest) {
            switch kind {
            case .data: plain += bytes
            case .end: return (plain, true, false)
            case .alert: return (plain, false, true)
            case .hello, .finished, .aside: break
            }
        }
        return (plain, false, false)
    }
}
