import CMillraceLinux
import Glibc
import MillraceEventLoop
import MillraceTestSupport
import Testing

/// Contract tests of a driver's end with operations in flight.
extension DriverContract {
    @Suite struct Shutdowns {
        /// More operations than a hundred entries of io_uring complete if each brings only 20.
        @Test(
            "a driver's end reaches each of thousands of peers and leaves nothing open",
            arguments: DriverKind.overAKernel)
        func thousandsOfPeers(_ kind: DriverKind) throws {
            let limit = DescriptorLimit(raisedTo: 5_100)
            defer { limit.restore() }
            let count = min(2_500, (limit.count - 100) / 2)
            let (ended, left) = try withOwnDescriptors {
                Result { try end(kind, peers: count) }
            }.get()
            #expect(ended == count)
            #expect(left == 0)
        }

        /// Returns the number of peers that read their end, and of descriptors that stay open.
        private func end(_ kind: DriverKind, peers count: Int) throws -> (ended: Int, left: Int) {
            let before = openDescriptorCount()
            let peers = try receive(kind, count)
            let ended = peers.count { $0.readsEnd() }
            for peer in peers { peer.close() }
            return (ended, openDescriptorCount() - before)
        }

        /// Makes a driver that receives from peers, and ends it after one wait.
        private func receive(_ kind: DriverKind, _ count: Int) throws -> [SocketPair] {
            let driver = try kind.makeWorld().driver
            let pairs = try (0..<count).map { slot in
                let pair = try SocketPair()
                let token = Token(slot: UInt32(slot), generation: 1)
                driver.attach(pair.own, as: token)
                driver.submit(.receive, for: token)
                return pair
            }
            try driver.wait(until: driver.clock)
            driver.shutDown()
            return pairs
        }
    }
}
