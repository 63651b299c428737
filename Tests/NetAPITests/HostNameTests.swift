/// Tests of names in addresses: those that no host can have are refused at once, with the reason.
import NetAPI
import Testing

@Suite struct HostNameTests {
    private static let label63 = String(repeating: "a", count: 63)
    private static let name253 = [label63, label63, label63, String(repeating: "b", count: 61)]
        .joined(separator: ".")

    @Test(
        "a name with a port is an address of each scheme",
        arguments: [
            "example.org", "a", "my_service", "a-b.c-d", "EXAMPLE.org", "example.org.", "1a", "3.a",
            "xn--bcher-kva.example", "localhost.", "0xg", label63, name253, name253 + ".",
        ])
    func names(_ name: String) throws {
        for scheme in ["tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "tls", "tls4", "tls6"] {
            let address = try Address(parsing: "\(scheme)://\(name):443")
            #expect(address.port == 443)
            #expect(address.description == "\(scheme)://\(name):443")
            #expect(address == (try Address(parsing: address.description)))
        }
        #expect(Address.tcp(name, port: 443) == (try Address(parsing: "tcp://\(name):443")))
        #expect(try Address(parsing: "tls://\(name):443?name=other.org").port == 443)
    }

    static let wrong: [(host: String, reason: String)] = [
        ("a..b", "empty part"), (".a", "empty part"), (".", "empty part"), ("a..", "empty part"),
        (label63 + "a", "63 bytes"), (name253 + "c", "253 bytes"),
        (String(repeating: "a.", count: 5000), "253 bytes"),
        ("bücher.example", "not ASCII"), ("例え.jp", "not ASCII"), ("a\u{200B}b", "not ASCII"),
        ("a b", "character"), (" a", "character"), ("a ", "character"), ("a%eth0", "character"),
        ("user@host", "not an address"), ("a*b", "character"), ("a/b", "not an address"),
        ("a\0b", "not an address"), ("a\tb", "not an address"), ("a\u{7F}", "not an address"),
        ("127.1", "number"), ("0x7f000001", "number"), ("0X7F.0.0.1", "number"),
        ("017700000001", "number"), ("1.2.3.4.5", "number"), ("example.1", "number"),
        ("0177.0.0.1", "number"), ("127.0.0.0x1", "number"), ("a.0x", "number"), ("1.", "number"),
    ]

    @Test("a name that no host can have is refused with the reason", arguments: wrong)
    func wrongNames(_ host: String, _ reason: String) throws {
        for scheme in ["tcp", "tls", "udp6"] {
            let text = "\(scheme)://\(host):443"
            let error = #expect(throws: NetError.self) { try Address(parsing: text) }
            #expect(error?.code == .invalidAddress)
            #expect(error?.cause.contains(reason) == true, "\(error as Any)")
            let words = error?.description ?? ""
            #expect(words.utf8.count < 1000 && !words.contains("\n") && error?.remedy != "")
        }
    }

    @Test("a host without a port is refused, and the remedy has one")
    func port() throws {
        for text in ["tcp://example.org", "tls://example.org", "tls://example.org?name=a"] {
            let error = #expect(throws: NetError.self) { try Address(parsing: text) }
            #expect(error?.cause.contains("no port") == true, "\(error as Any)")
        }
        for text in ["tcp://example.org:", "tcp://example.org:99999", "tcp://a:b:80"] {
            #expect(throws: NetError.self) { try Address(parsing: text) }
        }
    }

    @Test("a name in brackets is refused")
    func brackets() throws {
        for text in ["tcp://[example.org]:443", "tcp://[a:b]:443", "tcp://[]:443"] {
            #expect(throws: NetError.self) { try Address(parsing: text) }
        }
    }

    @Test("addresses of names are equal if they are written the same")
    func equality() throws {
        let (one, other): (Address, Address) = ("tcp://example.org:1", "tcp://example.org:2")
        #expect(one != other && Set([one, other, one]).count == 2)
        #expect(one != "tcp4://example.org:1" && one != "udp://example.org:1")
        #expect("tcp://localhost:1" == ("tcp://127.0.0.1:1" as Address))
    }

    @Test("addresses of which different names are verified are different")
    func verifiedNames() {
        let (name, digits): (Address, Address) = ("tls://localhost:443", "tls://127.0.0.1:443")
        #expect(name != digits)
        #expect(name == "tls://127.0.0.1:443?name=localhost")
        #expect("tcp://localhost:80" as Address == "tcp://127.0.0.1:80")
    }
}
