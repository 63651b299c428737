/// Hosts and ports, in the Host field and in targets.
import HTTPCodec
import Testing

@Suite struct AuthorityTests {
    private static let good = [
        "a", "a.b:80", "a:", "a:00000000000080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:80",
        "[::ffff:1.2.3.4]:", "[1:2:3:4:5:6:7:8]", "[v1.a:b]", "[vF.~]:1", "%C3%a4.b", "a%2Fb:1",
        "x_y-z~!$&'()*+,;=", "localhost:8080", "a:0", "a:65535", "a:59999", "a:64999", "a:65499",
        "a:65529", "a:12345", "a:00009", "a:065535", "[::1]:65535",
    ]
    private static let bad = [
        "a:x", "a:8x", "a:80x00000", "a:8 0", "a:-1", "a:80:80", "a:12345678x", "a:x2345678",
        ":80", ":", "[::1", "[::1]x", "[::1]:x", "[::1]80", "[]", "[:]", "[1]",
        "[1:2:3:4:5:6:7:8:9]",
        "[::1%eth0]", "[::1%25eth0]", "[::g]", "[127.0.0.1]", "[v.a]", "[v1.]", "[v1]", "[vg.a]",
        "[::1]]", "a[", "a]", "::1", "%zz", "%", "%2", "a%4", "a%4g", "u@a", "u:p@a", "a/b", "a?b",
        "a b", "a\"", "a<", "a\\", "a^", "\u{e4}", "a:65536", "a:99999", "a:70000", "a:65540",
        "a:65600", "a:66000", "a:6553x", "a:x5535", "[::1]:65536", "a:18446744073709551696",
    ]

    private func progress(_ text: String) -> RequestParser.Progress {
        var parser = RequestParser()
        return Array(text.utf8).withUnsafeBytes { parser.parse($0) }
    }

    @Test("the parser accepts each valid authority in Host and in a target", arguments: good)
    func isTaken(_ authority: String) {
        let field = "GET / HTTP/1.1\r\nHost: \(authority) \r\n\r\n"
        #expect(progress(field) == .complete(field.utf8.count))
        for end in ["", "/", "?", "/b?c"] {
            let target = "GET http://\(authority)\(end) HTTP/1.1\r\nHost: a\r\n\r\n"
            #expect(progress(target) == .complete(target.utf8.count), "\(end)")
        }
    }

    @Test("the parser refuses each invalid authority with status 400", arguments: bad)
    func isRefused(_ authority: String) {
        let field = "GET / HTTP/1.1\r\nHost: \(authority)\r\n\r\n"
        #expect(progress(field) == .refused(.badRequest))
        // In a target, a path or a query begins here.
        guard !authority.contains("/"), !authority.contains("?") else { return }
        let target = "GET http://\(authority)/ HTTP/1.1\r\nHost: a\r\n\r\n"
        #expect(progress(target) == .refused(.badRequest))
        let connect = "CONNECT \(authority) HTTP/1.1\r\nHost: a\r\n\r\n"
        #expect(progress(connect) == .refused(.badRequest))
    }

    /// CONNECT to a host and a port is not implemented, since this server is no proxy.
    @Test(
        "CONNECT without a port is refused with status 400",
        arguments: [("a:80", Status.notImplemented), ("a", .badRequest), ("a:", .badRequest)])
    func connectNeedsAPort(_ target: String, _ status: Status) {
        #expect(progress("CONNECT \(target) HTTP/1.1\r\nHost: a\r\n\r\n") == .refused(status))
    }

    /// An empty Host is valid, since a target may have no authority.
    @Test("the parser accepts an empty Host")
    func anEmptyHostIsOne() {
        let text = "GET / HTTP/1.1\r\nHost: \r\n\r\n"
        #expect(progress(text) == .complete(text.utf8.count))
    }
}
