/// Tests of addresses: the kernel's form and the text form, in both directions.
import Glibc
import Testing

@testable import MillraceEventLoop

@Suite struct SocketAddressTests {
    // MARK: The kernel's form

    @Test(
        "an address is unchanged by conversion to the kernel's form and back",
        arguments: [
            SocketAddress.v4(IPv4Bytes(0), port: 0),
            .v4(IPv4Bytes(.max), port: .max),
            .v4(IPv4Bytes(0x0403_0201), port: 0x1234),
            .v6(IPv6Bytes(high: 0, low: 0), port: 0, scope: 0),
            .v6(IPv6Bytes(high: .max, low: .max), port: .max, scope: .max),
            .v6(IPv6Bytes(high: 0x0807_0605_0403_0201, low: 0x10), port: 443, scope: 7),
            .unix("/tmp/a", abstract: false), .unix("relative", abstract: false),
            .unix("/tmp/weiß and spaces", abstract: false),
            .unix(String(repeating: "p", count: 107), abstract: false),
            .unix("name", abstract: true), .unix("/tmp/a", abstract: true),
            .unix("", abstract: true), .unix(String(repeating: "n", count: 107), abstract: true),
        ])
    func survivesTheKernelForm(_ address: SocketAddress) throws {
        #expect(try roundTrip(address) == address)
    }

    @Test(
        "a random address is unchanged by conversion to the kernel's form and back",
        arguments: Trial.seeds)
    func randomOnesSurviveTheKernelForm(seed: UInt64) throws {
        var trial = Trial(seed)
        for _ in 0..<200 {
            let address = randomAddress(&trial)
            trial.begin("convert \(address)")
            let back = try roundTrip(address)
            try trial.check(back == address, "\(back as Any)")
        }
    }

    /// The form that an IPv6 socket reports for an IPv4 peer.
    @Test("an IPv4-mapped IPv6 address is read as IPv4 and has the host of the plain form")
    func aMappedHostIsReadAsIPv4AndCountedAsOne() throws {
        let plain = try #require(SocketAddress(host: "192.0.2.7", port: 9))
        let mapped = try #require(SocketAddress(host: "::ffff:192.0.2.7", port: 9))
        #expect(mapped != plain && mapped.hostText == "[::ffff:192.0.2.7]")
        #expect(try roundTrip(mapped) == plain)
        #expect(mapped.host == plain.host && mapped.unmapped == plain)
        for text in ["::", "::1", "::192.0.2.7", "::fffe:192.0.2.7", "64:ff9b::192.0.2.7"] {
            let other = try #require(SocketAddress(host: text, port: 9))
            #expect(other.unmapped == other)
            #expect(try roundTrip(other) == other)
        }
    }

    @Test("lacksZone reports link-local hosts without a zone and no others")
    func linkLocalHostsWithoutAZoneAreTold() throws {
        for (text, lacks) in [
            ("fe80::1", true), ("febf::1", true), ("ff02::1", true), ("ff12::1", true),
            ("fe80::1%1", false), ("fec0::1", false), ("::1", false), ("ff0e::1", false),
            ("169.254.0.1", false),
        ] {
            let address = try #require(SocketAddress(host: text, port: 9))
            #expect(address.lacksZone == lacks, "\(text)")
        }
    }

    /// The result of getsockname(2) for an unnamed socket.
    @Test("the address of an unnamed Unix socket is the empty path")
    func anUnnamedSocketHasTheEmptyPath() throws {
        var storage = sockaddr_storage()
        storage.ss_family = sa_family_t(AF_UNIX)
        let length = socklen_t(MemoryLayout<sa_family_t>.size)
        #expect(SocketAddress(storage, length: length) == .unix("", abstract: false))
    }

    @Test("the empty path does not become an abstract name in the kernel's form")
    func theEmptyPathIsNoAbstractName() throws {
        let address = SocketAddress.unix("", abstract: false)
        #expect(try roundTrip(address) == address)
    }

    @Test("an IPv4 address and its port are written in network byte order")
    func writesV4InNetworkOrder() throws {
        let address = try #require(SocketAddress(host: "192.0.2.7", port: 0x1F90))
        let bytes = try kernelBytes(address)
        #expect(bytes.count == MemoryLayout<sockaddr_in>.size)
        #expect(Array(bytes[2..<8]) == [0x1F, 0x90, 192, 0, 2, 7])
    }

    @Test("an IPv6 address and its port are written in network byte order")
    func writesV6InNetworkOrder() throws {
        let address = try #require(SocketAddress(host: "2001:db8::102:304%7", port: 0x1F90))
        let bytes = try kernelBytes(address)
        #expect(bytes.count == MemoryLayout<sockaddr_in6>.size)
        #expect(Array(bytes[2..<4]) == [0x1F, 0x90])
        #expect(
            Array(bytes[8..<24])
                == [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])
        #expect(bytes[24] == 7)
    }

    @Test("a path is written with a zero byte at its end, an abstract name with one in front")
    func writesUnixNames() throws {
        let path = try kernelBytes(.unix("/tmp/a", abstract: false))
        #expect(Array(path[2...]) == Array("/tmp/a\0".utf8))
        let name = try kernelBytes(.unix("tmp", abstract: true))
        #expect(Array(name[2...]) == Array("\0tmp".utf8))
    }

    @Test(
        "a Unix name of more than 107 bytes throws ENAMETOOLONG",
        arguments: [108, 109, 5000], [false, true])
    func refusesANameThatDoesNotFit(length: Int, isAbstract: Bool) {
        let address = SocketAddress.unix(
            String(repeating: "x", count: length), abstract: isAbstract)
        #expect(throws: SystemError(ENAMETOOLONG, "bind")) { try kernelBytes(address) }
    }

    @Test("a kernel address of another family is not converted")
    func knowsNoOtherFamilies() {
        var storage = sockaddr_storage()
        for family in [AF_UNSPEC, AF_NETLINK, AF_PACKET] {
            storage.ss_family = sa_family_t(family)
            #expect(SocketAddress(storage, length: 16) == nil)
        }
    }

    // MARK: Text

    @Test(
        "hostText is the host in digits, with brackets for IPv6",
        arguments: [
            ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"),
            ("255.255.255.255", "255.255.255.255"),
            ("192.0.2.7", "192.0.2.7"), ("::", "[::]"), ("::1", "[::1]"),
            ("2001:0db8:0000::0001", "[2001:db8::1]"), ("FE80::A%7", "[fe80::a%7]"),
            ("::ffff:192.0.2.7", "[::ffff:192.0.2.7]"), ("fe80::1%lo", "[fe80::1%1]"),
        ])
    func writesTheHostInDigits(host: String, text: String) throws {
        let address = try #require(SocketAddress(host: host, port: 9))
        #expect(address.hostText == text)
        #expect(address.port == 9)
    }

    @Test(
        "text that is not a numeric host is refused",
        arguments: [
            "", "localhost", "1.2.3", "1.2.3.256", "1.2.3.4.5", "1.2.3.4 ", " 1.2.3.4", "01.2.3.4x",
            "1.2.3.4%1", "[::1]", ":", ":::", "1::2::3", "12345::", "::1%", "::1%0",
            "::1%nosuchlink",
            "%1", "::1%1%1",
        ])
    func refusesWhatIsNoHost(host: String) {
        #expect(SocketAddress(host: host, port: 1) == nil)
    }

    /// A C string ends at the zero; the rest must not be ignored.
    @Test(
        "a host that contains a zero byte is refused",
        arguments: ["127.0.0.1\0", "127.0.0.1\0.example", "::1\0x", "fe80::1%lo\0x"])
    func refusesAHostWithAZero(host: String) {
        #expect(SocketAddress(host: host, port: 1) == nil)
    }

    @Test("the text of a random host is read back as the same address", arguments: Trial.seeds)
    func textReadsBackAsTheSameHost(seed: UInt64) throws {
        var trial = Trial(seed)
        for _ in 0..<200 {
            let address = randomAddress(&trial)
            trial.begin("write \(address)")
            guard let port = address.port else {
                try trial.check(address.hostText == nil, "\(address.hostText as Any)")
                continue
            }
            let text = (address.hostText ?? "").filter { $0 != "[" && $0 != "]" }
            let back = SocketAddress(host: text, port: port)
            try trial.check(back == address, "\(text) is \(back as Any)")
        }
    }

    @Test("a Unix address has neither a host nor a port")
    func aUnixNameHasNeitherHostNorPort() {
        let address = SocketAddress.unix("/tmp/a", abstract: false)
        #expect(address.hostText == nil && address.port == nil)
    }

    // MARK: Shorthands

    private func randomAddress(_ trial: inout Trial) -> SocketAddress {
        let port = UInt16(truncatingIfNeeded: trial.random.next())
        // The text form abbreviates runs of zeros.
        let mask: UInt64 = trial.random.happens(50) ? .max : 0xFFFF_0000_00FF_0000
        let (high, low) = (trial.random.next() & mask, trial.random.next() & mask)
        switch trial.random.below(3) {
        case 0: return .v4(IPv4Bytes(UInt32(truncatingIfNeeded: high)), port: port)
        case 1:
            let scope = UInt32(trial.random.below(3))
            return .v6(IPv6Bytes(high: high, low: low), port: port, scope: scope)
        default:
            let name = (0..<1 + trial.random.below(107)).map { _ in
                UInt8(0x21 + trial.random.below(94))
            }
            let text = String(decoding: name, as: UTF8.self)
            return .unix(text, abstract: trial.random.happens(50))
        }
    }

    private func kernelBytes(_ address: SocketAddress) throws(SystemError) -> [UInt8] {
        try address.withKernelForm { pointer, length in
            Array(UnsafeRawBufferPointer(start: pointer, count: Int(length)))
        }
    }

    private func roundTrip(_ address: SocketAddress) throws -> SocketAddress? {
        let bytes = try kernelBytes(address)
        var storage = sockaddr_storage()
        // The bytes after those that the kernel wrote may have any value.
        withUnsafeMutableBytes(of: &storage) { room in
            for index in room.indices { room[index] = 0xAA }
            room.copyBytes(from: bytes)
        }
        return SocketAddress(storage, length: socklen_t(bytes.count))
    }
}
