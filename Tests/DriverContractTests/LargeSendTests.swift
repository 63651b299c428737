import EventLoop
import Glibc
import Testing

/// A piece that is larger than a kernel's counters is a send like any other: some of it is taken.
extension DriverContract {
    @Suite struct LargeSends {
        /// Beyond 31 bits, and what is nothing in 32.
        @Test(arguments: DriverKind.allCases, [1 << 31 + 1 << 27, 1 << 32])
        func someOfItIsTaken(_ kind: DriverKind, _ size: Int) throws {
            // Never touched but where it is sent from, so it takes next to no memory.
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
