/// Tests of the records on the wire.
import Glibc
import MillraceTestSupport
import NetAPI
import NetTLS
import Testing

@Suite struct TLSRecordTests {
    /// The sizes of the records with application data, until `count` bytes were opened.
    private static func recordSizes(_ client: TestClient, until count: Int) throws -> [Int] {
        let tls = try ClientTLS()
        let deadline = Deadline()
        var wire: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        var opened = 0
        tls.take(UnsafeRawBufferPointer(start: nil, count: 0))
        while opened < count {
            _ = try tls.withUnsent(client.sendPlain)
            let received = recv(client.descriptor, &piece, piece.count, 0)
            guard received != 0 else {
                throw EndedEarly(received: opened, expected: count, end: .clean)
            }
            guard received > 0 else {
                try client.wait(for: POLLIN, deadline, "opened \(opened) of \(count) bytes")
                continue
            }
            wire += piece[..<received]
            piece.withUnsafeBytes { tls.take(.init(rebasing: $0[..<received])) }
            while true {
                let part = piece.withUnsafeMutableBytes { tls.receive(into: $0) }
                guard part > 0 else { break }
                opened += part
            }
        }
        var sizes: [Int] = []
        var rest = wire[...]
        while rest.count >= 5 {
            let header = Array(rest.prefix(5))
            let size = Int(header[3]) << 8 | Int(header[4])
            if header[0] == 23 { sizes.append(size) }
            rest = rest.dropFirst(5 + size)
        }
        return sizes
    }

    @Test(
        "records are small for the first 64 KiB with startingSmall, and full behind them",
        arguments: Setup.single)
    func startingSmall(_ setup: Setup) throws {
        let total = 600_000
        for keepsBuffers in [false, true] {
            let handler = TestHandler(open: { connection in
                connection.write([UInt8](repeating: 7, count: total))
                return .none
            })
            let tls = try TLSTest.server {
                $0.recordSize = .startingSmall
                $0.keepsBuffers = keepsBuffers
            }
            let options = setup.options { $0.tls = tls }
            try withServer(setup, handler, listen: [TLSTest.port], options: options) { server in
                let port = server.addresses[0].port ?? 0
                let client = try TestClient(to: .tcp("127.0.0.1", port: port))
                let sizes = try Self.recordSizes(client, until: total)
                var sent = 0
                for size in sizes {
                    sent += size
                    // The library adds up to 22 bytes to each.
                    if sent < 32_768 { #expect(size <= 1_422) }
                }
                // The rest of a piece of the sealed bytes may be smaller.
                let large = sizes.filter { $0 >= 16_384 }
                #expect(large.count >= 24, "\(sizes)")
                #expect(sizes.count < 120, "\(sizes.count) records")
            }
        }
    }
}
