internal import CMillraceTLS
internal import Glibc
public import NetAPI

/// The tickets with which a client resumes its session without another full handshake. It can do so
/// for two hours after its last full one, and not behind the end of its certificate.
public struct TLSTickets: Sendable {
    enum Kind: Sendable {
        case automatic
        case keys([Key])
        case none
    }

    let kind: Kind

    /// A random key, made at the start and again every 12 hours; the last two open tickets.
    public static let automatic = TLSTickets(kind: .automatic)
    /// No tickets: each handshake is a full one.
    public static let none = TLSTickets(kind: .none)

    /// The keys of several processes that serve the same names: the first seals, all open. At most
    /// 16. Exchange them once a day at least, since a key opens all traffic that resumed with it.
    public static func keys(_ keys: [Key]) -> TLSTickets { TLSTickets(kind: .keys(keys)) }

    /// A key: 80 random bytes.
    public struct Key: Sendable {
        let bytes: [UInt8]

        /// Throws `.invalidOption` unless there are 80 bytes.
        public init(_ bytes: [UInt8]) throws(NetError) {
            guard bytes.count == 80 else {
                throw .invalidSetting("a ticket key", "\(bytes.count) bytes", "give 80 bytes")
            }
            self.bytes = bytes
        }
    }
}

/// The keys in use, shared by the loops.
// Unchecked: the object has a lock of its own.
final class TicketKeys: @unchecked Sendable {
    let pointer: OpaquePointer

    private static let lifetime: Int64 = 12 * 3600

    /// Nil without tickets.
    init?(_ tickets: TLSTickets) throws(NetError) {
        let keys: [UInt8]
        switch tickets.kind {
        case .none: return nil
        case .automatic: keys = []
        case .keys(let list):
            guard (1...16).contains(list.count) else {
                throw .invalidSetting("tickets", "\(list.count) keys", "give 1 to 16")
            }
            keys = list.flatMap(\.bytes)
        }
        guard let pointer = mr_tls_tickets_new(keys, keys.count / 80, Self.lifetime) else {
            throw .fromLibrary("tickets")
        }
        self.pointer = pointer
    }

    deinit { mr_tls_tickets_free(pointer) }
}
