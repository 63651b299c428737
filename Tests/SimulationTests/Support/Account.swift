import Glibc
import NetAPI
import Simulation

/// What became of one connection, as its handler saw it.
// Unchecked: stepped by one thread.
final class Account: @unchecked Sendable {
    let peer: Int?
    var opens = 0
    var closes = 0
    /// Bytes taken from the connection; each was compared with the peer's pattern.
    var taken = 0
    /// The handler leaves nothing unread of what it is shown.
    var takesEverything = false
    /// Everything written while the connection was open.
    var written: [UInt8] = []
    var reason: CloseReason?
    /// The handler has ended its side.
    var hasEnded = false
    /// The handler ended it in a way that may lose bytes.
    var isAborted = false
    var mistakes: [String] = []
    /// One end of a pipe, or waiting to be.
    var isPiped = false
    /// Whose bytes it is sent, by a pipe.
    var source: Account?
    /// Promises of `sent` closures, and how many were told.
    var promises = 0
    var tellings = 0

    init(peer: Int?) { self.peer = peer }

    /// Whether the close was one that promises every byte.
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
    /// Replies to datagrams that have to leave or to be counted as dropped.
    var dueReplies = 0
    /// Datagrams for which the handler threw.
    var refusedDatagrams = 0

    /// A connection's account, made when it opens. Who was reset before it was accepted has no
    /// address any more, so nobody knows which peer that was.
    func open(port: UInt16?) -> Account {
        let found = port.flatMap { port in
            peers.firstIndex { $0.peer.localAddress?.port == port }
        }
        guard let peer = found else { return Account(peer: nil) }
        let account = accounts[peer] ?? Account(peer: peer)
        accounts[peer] = account
        return account
    }
}

/// The bytes that a peer sends: different for each peer and place, so that a byte out of place
/// shows. Cut from one table, since debug builds make bytes one by one far too slowly for thousands
/// of seeds.
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
