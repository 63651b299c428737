import Glibc
import MillraceEventLoop
import Testing

/// Contract tests of sends larger than a kernel's counters: like any other send, part of it is
/// sent.
extension DriverContract {
    @Suite struct LargeSends {
        /// Sizes beyond 31 bits, and one that is 0 in 32 bits.
        @Test(
            "a send of more than 31 bits in size sends a part of the bytes and reports their count",
            arguments: DriverKind.allCases, [1 << 31 + 1 << 27, 1 << 32])
        func someOfItIsTaken(_ kind: DriverKind, _ size: Int) throws {
            // Only the pages that are sent are touched, so the mapping uses little memory.
            let flags = MAP_PRIVATE | CInt(MAP_ANONYMOUS) | CInt(MAP_NORESERVE)
            let pages = mmap(nil, size, PROT_READ, flags, -1, 0)
            try #require(pages != MAP_FAILED)
            defer { munmap(pages, size) }
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(.tcp)
                peer.readLimit = .max
                session.submit(.send(UnsafeRawBufferPointer(start: pages, count: size)), token)
                var seen: Seen { session.seen[token] ?? Seen() }
                try session.run(until: "it is answered") {
                    seen.answers == 1 || !seen.failures.isEmpty
                }
                let sent = seen.sentCount
                #expect(seen.failures.isEmpty)
                #expect(sent > 0 && sent <= size)
                try session.run(until: "the peer has it") { peer.received.count >= sent }
                #expect(peer.received.count == sent)
            }
        }
    }
}
