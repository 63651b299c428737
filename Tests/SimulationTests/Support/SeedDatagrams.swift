/// The UDP side of a run: the datagrams that peers sent, that the handler got, and that came back.
import MillraceEventLoop
import MillraceSimulation
import NetAPI

/// The number of datagrams, by their bytes.
typealias Tally = [[UInt8]: Int]

/// The account of one peer with a UDP socket.
final class DatagramAccount {
    let peer: SimulatedDatagramPeer
    /// The address that it sends to, and that must answer.
    let target: SocketAddress
    var sent: Tally = [:]
    var shown: Tally = [:]
    var replies: Tally = [:]

    init(peer: SimulatedDatagramPeer, target: SocketAddress) {
        self.peer = peer
        self.target = target
    }

    var mistakes: [String] {
        var found: [String] = []
        let received = peer.received.reduce(into: Tally()) { $0[$1, default: 0] += 1 }
        for (bytes, count) in shown where count > sent[bytes, default: 0] {
            found.append("\(count) times shown \(bytes.count) bytes that were not sent as often")
        }
        for (bytes, count) in received where count > replies[bytes, default: 0] {
            found.append("\(count) times got \(bytes.count) bytes that were not replied as often")
        }
        for sender in peer.senders where sender != target {
            found.append("\(target) was asked, and \(sender) answered")
        }
        return found
    }
}

extension Ledger {
    func drawDatagramPeers(
        to addresses: [SocketAddress], on network: SimulatedNetwork, _ random: inout SeededRandom
    ) {
        for index in 0..<(1 + random.below(4)) {
            let address = addresses[index % addresses.count]
            let account = DatagramAccount(peer: network.makeDatagramPeer(), target: address)
            datagramAccounts.append(account)
            for _ in 0..<random.below(6) {
                let delay = random.within(Nanoseconds(0)...1_000_000_000)
                let size = random.pick([0, 1, 50, 50, 1_200])
                // A burst, the case that offloads are made for.
                for number in 0..<random.pick([1, 1, 2, 20]) {
                    let bytes = Array(PeerPattern.bytes(index, from: number * 10, count: size))
                    account.sent[bytes, default: 0] += 1
                    account.peer.send(bytes, to: address, after: delay)
                }
            }
        }
    }

    func datagramAccount(_ port: UInt16?) -> DatagramAccount? {
        datagramAccounts.first { $0.peer.address.port == port }
    }

    /// Checks all accounts together, against the server's final `statistics`.
    func checkDatagrams(_ statistics: Statistics, isFaulty: Bool) -> [String] {
        var found: [String] = []
        for (index, account) in datagramAccounts.enumerated() {
            found += account.mistakes.map { "datagram peer \(index): \($0)" }
        }
        func total(_ tallies: [Tally]) -> Int { tallies.reduce(0) { $0 + $1.values.reduce(0, +) } }
        let shown = total(datagramAccounts.map(\.shown))
        let arrived = datagramAccounts.reduce(0) { $0 + $1.peer.received.count }
        let (sent, dropped) = (statistics.datagramsOut, statistics.datagramDrops)
        if statistics.datagramsIn != shown {
            found.append("\(statistics.datagramsIn) counted in, \(shown) shown")
        }
        if sent != arrived { found.append("\(sent) counted out, \(arrived) arrived") }
        if sent + dropped < dueReplies {
            found.append("\(dueReplies) due, but \(sent) sent and \(dropped) dropped")
        }
        if !isFaulty && dropped > 0 { found.append("\(dropped) dropped without a fault") }
        if statistics.datagramErrors != refusedDatagrams {
            found.append("\(statistics.datagramErrors) errors, \(refusedDatagrams) thrown")
        }
        return found
    }
}

/// Answers once, not at all, or with more datagrams than one system call sends.
extension SeedHandler: DatagramHandler {
    func onDatagram(_ datagram: Datagram) throws -> Action {
        let bytes = Array(copying: datagram.bytes)
        guard let account = ledger.datagramAccount(datagram.remoteAddress.port) else {
            preconditionFailure("a datagram from nobody")
        }
        let (host, port) = (account.target.hostText ?? "", account.target.port ?? 0)
        precondition(datagram.localAddress.description == "udp://\(host):\(port)")
        account.shown[bytes, default: 0] += 1
        if random.happens(50) {
            ledger.refusedDatagrams += 1
            throw Refusal()
        }
        let count = random.pick([0, 1, 1, 1, 2, bytes.count > 100 ? 3 : 100])
        for _ in 0..<count { datagram.reply(bytes) }
        account.replies[bytes, default: 0] += count
        // A socket that is closing accepts no reply.
        if !datagram.loop.isStopping { ledger.dueReplies += count }
        return .none
    }
}
