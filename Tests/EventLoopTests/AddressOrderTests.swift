/// The order in which a connect tries a host's addresses.
import Testing

@testable import MillraceEventLoop

@Suite struct AddressOrderTests {
    private static func addresses(_ texts: [String]) -> [SocketAddress] {
        texts.compactMap { SocketAddress(host: $0, port: 0) }
    }

    private static func order(_ texts: [String], _ family: AddressFamily? = nil) -> [String] {
        AddressOrder.interleaved(addresses(texts), family: family).compactMap(\.hostText)
    }

    @Test("the families take turns, IPv6 first, each in the resolver's order")
    func turns() {
        #expect(
            Self.order(["1.1.1.1", "1.1.1.2", "::2", "::1"])
                == ["[::2]", "1.1.1.1", "[::1]", "1.1.1.2"])
        #expect(
            Self.order(["::3", "::2", "::1", "1.1.1.1"])
                == ["[::3]", "1.1.1.1", "[::2]", "[::1]"])
        #expect(Self.order(["1.1.1.2", "1.1.1.1"]) == ["1.1.1.2", "1.1.1.1"])
        #expect(Self.order([]) == [])
    }

    @Test("an address that comes again is tried once, in the IPv6 form too")
    func repetitions() {
        #expect(
            Self.order(["::1", "1.1.1.1", "::1", "::ffff:1.1.1.1", "1.1.1.1"])
                == ["[::1]", "1.1.1.1"])
    }

    @Test("only addresses of the wanted family are left, and no path")
    func families() {
        let mixed = ["::1", "1.1.1.1", "::ffff:1.1.1.2"]
        #expect(Self.order(mixed, .v6) == ["[::1]"])
        #expect(Self.order(mixed, .v4) == ["1.1.1.1", "1.1.1.2"])
        let path = SocketAddress.unix("/x", abstract: false)
        #expect(AddressOrder.interleaved([path], family: nil) == [])
    }

    @Test("of 10,000 addresses 32 are left, of both families")
    func bound() {
        let many =
            (0..<5000).map { SocketAddress.v4(IPv4Bytes(UInt32($0)), port: 0) }
            + (0..<5000).map { .v6(IPv6Bytes(high: 1, low: UInt64($0)), port: 0, scope: 0) }
        let order = AddressOrder.interleaved(many, family: nil)
        #expect(order.count == 32 && order.count { $0.hostText?.hasPrefix("[") == true } == 16)
        #expect(order[1] == many[0] && order[0] == many[5000])
        #expect(AddressOrder.interleaved(many, family: .v4) == Array(many.prefix(32)))
        #expect(AddressOrder.inOrder(many, family: nil) == Array(many.prefix(32)))
    }

    @Test("link-local addresses of two zones are two addresses")
    func zones() {
        let here = SocketAddress.v6(IPv6Bytes(high: 1, low: 1), port: 0, scope: 1)
        let there = SocketAddress.v6(IPv6Bytes(high: 1, low: 1), port: 0, scope: 2)
        #expect(AddressOrder.interleaved([here, there, here], family: nil) == [here, there])
    }
}
