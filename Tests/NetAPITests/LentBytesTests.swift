/// Tests that no call inside a callback moves, frees or overwrites bytes that were lent in that
/// callback.
///
/// Each call is tried with bytes lent from each memory: the driver's, the connection's own, and a
/// ring that wraps.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct LentBytesTests {
    @Test(
        "lent bytes stay unchanged during every call in the callback",
        arguments: LentBytes.Call.allCases)
    func lentBytesStayAsTheyAreDuring(_ call: LentBytes.Call) async {
        await sideBySide(Setup.all) { setup in
            let results = LentBytes.Results()
            let server = try Server(listen: anyPort, options: setup.options()) {
                LentBytes(call: call, results: results)
            }
            try serve(server) { server in
                for taking in LentBytes.Taking.allCases {
                    for memory in LentBytes.Memory.allCases {
                        let buddies = try connectBuddies(server, 2 * setup.loops, results)
                        try provoke(server, taking, memory, results)
                        for buddy in buddies { buddy.close() }
                    }
                }
            }
            #expect(results.complaints.value == [])
            #expect(
                results.done.value == LentBytes.Taking.allCases.count
                    * LentBytes.Memory.allCases.count)
        }
    }

    /// Connects clients with unread bytes to each loop, for calls on another connection.
    private func connectBuddies(
        _ server: TestServer, _ count: Int, _ results: LentBytes.Results
    ) throws -> [TestClient] {
        let before = results.buddies.value
        let buddies = try (0..<count).map { _ in try server.connect() }
        for buddy in buddies { try buddy.send([0xFF] + Pattern(stream: 9).bytes(5000)) }
        try eventually("others to be there") { results.buddies.value == before + count }
        return buddies
    }

    /// The first byte selects the way of reading, the second the memory. Then a piece is sent for
    /// each request of the handler, until it is done.
    private func provoke(
        _ server: TestServer, _ taking: LentBytes.Taking, _ memory: LentBytes.Memory,
        _ results: LentBytes.Results
    ) throws {
        let before = results.done.value
        let client = try server.connect()
        try client.send([taking.rawValue, memory.rawValue] + LentBytes.payload)
        let deadline = Deadline()
        let byte = UnsafeMutableRawBufferPointer.allocate(byteCount: 1, alignment: 1)
        defer { byte.deallocate() }
        while results.done.value == before {
            try deadline.check("\(taking) of \(memory)")
            guard try client.poll(for: POLLIN, Deadline(.milliseconds(5))) else { continue }
            guard case .bytes = try client.receiveSome(byte), byte[0] == LentBytes.moreByte else {
                continue
            }
            try client.send(LentBytes.payload)
        }
    }
}
