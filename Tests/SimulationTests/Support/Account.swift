import Glibc
import MillraceSimulation
import NetAPI

/// The record of one connection, from its handler's point of view.
// Unchecked: stepped by one thread.
final class Account: @unchecked Sendable {
    let peer: Int?
    var opens = 0
    var closes = 0
    /// Bytes read from the connection; each was compared with the peer's pattern.
    var taken = 0
    /// True if the handler reads all bytes that each callback offers.
    var takesEverything = false
    /// True if a task was told that the peer's stream is over.
    var hasReadEnd = false
    /// All bytes written while the connection was open.
    var written: [UInt8] = []
    var reason: CloseReason?
    /// True if the handler has ended its side.
    var hasEnded = false
    /// True if the handler ended the connection in a way that may lose bytes.
    var isAborted = false
    var mistakes: [String] = []
    /// True for one end of a pipe, and for a connection that waits to become one.
    var isPiped = false
    /// The connection whose bytes a pipe sends to this one.
    weak var source: Account?
    /// The `sent` closures passed to writes, and how many of them were called.
    var promises = 0
    var tellings = 0

    init(peer: Int?) { self.peer = peer }

    /// True if the close guarantees that every byte is sent.
    var isGraceful: Bool {
        switch reason {
        case .local, .peer, .shutdown, .handlerError: !isAborted
        default: false
        }
    }
}

/// The accounts of a run, by peer.
// Unchecked: stepped by one thread.
final class Ledger: @unchecked Sendable {
    var accounts: [Int: Account] = [:]
    var peers: [SeedPeer] = []
    var shutdowns = 0
    var boots = 0
    var datagramAccounts: [DatagramAccount] = []
    /// Replies to datagrams that must be sent or counted as dropped.
    var dueReplies = 0
    /// Datagrams for which the handler threw.
    var refusedDatagrams = 0

    /// Returns a connection's account when it opens. A connection that was reset before it was
    /// accepted has no address, so its peer is unknown.
    func open(port: UInt16?) -> Account {
        let found = port.flatMap { remote in
            peers.firstIndex { $0.peer.localAddress?.port == port }
        }
        guard let peer = found else { return Account(peer: nil) }
        let account = accounts[peer] ?? Account(peer: peer)
        accounts[peer] = account
        return account
    }
}

/// The bytes that a peer sends: different for each peer and place, so that a misplaced byte is
/// detected. Cut from one table: debug builds make single bytes far too slowly for thousands of
/// seeds.
enum PeerPattern {
    private static let table: [UInt8] = {
        var random = SeededRandom(seed: 0xB17E)
        return random.bytes(1 << 18)
    }()

    static func bytes(_ peer: Int, from place: Int = 0, count: Int) -> ArraySlice<UInt8> {
        let start = (peer + 1) * 7_919 + place
        return table[start..<start + count]
    }

    static func matches(_ bytes: UnsafeRawBufferPointer, _ peer: Int, at place: Int) -> Bool {
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return true }
        return Self.bytes(peer, from: place, count: bytes.count).withUnsafeBytes {
            $0.baseAddress.map { memcmp($0, start, bytes.count) == 0 } ?? true
        }
    }
}

extension [UInt8] {
    func beginsExactly(with other: [UInt8]) -> Bool {
        count >= other.count && memcmp(self, other, other.count) == 0
    }
}
