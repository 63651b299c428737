/// Requests, good and hostile, with the expected result of each.

/// An input with its expected result: requests and bodies, or the status that refuses it.
public struct Row: CustomStringConvertible, Sendable {
    public let name: String
    public let text: String
    public let expected: [String]

    init(_ name: String, _ text: String, _ expected: String...) {
        self.name = name
        self.text = text
        self.expected = expected
    }

    public var bytes: [UInt8] { Array(text.utf8) }
    public var description: String { name }
}

/// Inputs of HTTP.
public enum Requests {
    private static let host = "Host: a\r\n"
    private static func get(_ fields: String, _ target: String = "/") -> String {
        "GET \(target) HTTP/1.1\r\n\(host)\(fields)\r\n"
    }
    private static func post(_ fields: String, _ body: String) -> String {
        "POST /echo HTTP/1.1\r\n\(host)\(fields)\r\n\(body)"
    }
    private static func chunked(_ body: String) -> String {
        post("Transfer-Encoding: chunked\r\n", body)
    }
    private static func x(_ count: Int) -> String { String(repeating: "x", count: count) }

    public static let good = [
        Row("get", get(""), "get /"),
        Row("head", "HEAD /a?b=c HTTP/1.1\r\nhOST:\ta:80 \t\r\n\r\n", "head /a?b=c"),
        Row("another method", "DELETE / HTTP/1.1\r\n\(host)\r\n", "other /"),
        Row("asterisk", "OPTIONS * HTTP/1.1\r\n\(host)\r\n", "other *"),
        Row("absolute target", get("", "http://a:80/b?c"), "get /b?c"),
        Row("absolute target without a path", get("", "http://a:80"), "get /"),
        Row("absolute target with a query alone", get("", "http://a?b"), "get /?b"),
        Row("empty line before", "\r\n" + get(""), "get /"),
        Row("1.0", "GET / HTTP/1.0\r\n\r\n", "get / 1.0 close"),
        Row(
            "1.0 kept", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "get / 1.0"),
        Row("1.7 is 1.1", "GET / HTTP/1.7\r\n\(host)\r\n", "get /"),
        Row("close", get("Connection: foo , CLOSE\r\n"), "get / close"),
        Row("tabs and letters beyond ASCII", get("A:\t\u{e9}\t12345678\t\u{e9}\r\n"), "get /"),
        Row("close stays", get("Connection: close\r\nConnection: keep-alive\r\n"), "get / close"),
        Row("empty values", get("A:\r\nB: \r\nAccept: \u{e9}\r\n"), "get /"),
        Row("pipelined", get("") + get("", "/b") + get("", "/c"), "get /", "get /b", "get /c"),
        Row("length", post("Content-Length: 5\r\n", "hello"), "post /echo", "body hello"),
        Row("length 0", post("Content-Length: 0\r\n", get("")), "post /echo", "body ", "get /"),
        Row(
            "length, then another", post("content-length: 005\r\n", "hello" + get("")),
            "post /echo",
            "body hello", "get /"),
        Row("chunked", chunked("5\r\nhello\r\n0\r\n\r\n"), "post /echo", "body hello"),
        Row(
            "chunks", chunked("5;a=b\r\nhello\r\n0a;q=\"x y\"\r\n, world...\r\n000\r\n\r\n"),
            "post /echo", "body hello, world..."),
        Row(
            "blanks around extensions",
            chunked("5 ;\ta = b\t; c; d= \"\\\"\\\\;\t\"\r\nhello\r\n0;e\r\n\r\n"),
            "post /echo", "body hello"),
        Row(
            "trailers", chunked("1\r\nx\r\n0\r\nA: b\r\nX-Y: 7\r\n\r\n" + get("")),
            "post /echo", "body x", "get /"),
        Row(
            "continue", post("Expect: 100-Continue\r\nContent-Length: 1\r\n", "x"),
            "post /echo continue", "body x"),
        Row(
            "continue on several lines",
            post("Expect:\r\nExpect: 100-continue, ,\r\nContent-Length: 1\r\n", "x"),
            "post /echo continue", "body x"),
        Row(
            "expecting nothing", post("Expect: ,\r\nContent-Length: 1\r\n", "x"),
            "post /echo", "body x"),
        Row(
            "options on several lines", get("Connection: a\r\nConnection: close\r\n"), "get / close"
        ),
        Row(
            "a list on several lines",
            get("If-None-Match: \"a\"\r\nA: b\r\nif-none-match: \"b\"\r\n"),
            "get / \"a\"\r\nA: b\r\nif-none-match: \"b\""),
        Row(
            "no bytes to continue", post("Expect: 100-continue\r\nContent-Length: 0\r\n", ""),
            "post /echo", "body "),
        Row("nothing to continue", get("Expect: 100-continue\r\n"), "get /"),
        Row("range", get("Range: bytes=1-2\r\nIf-Range: \"x\"\r\n"), "get / bytes=1-2 \"x\""),
        Row("a hundred fields", get(String(repeating: "A: b\r\n", count: 99)), "get /"),
        Row("part of a head", "GET / HTT", "partial"),
        Row("part of a body", post("Content-Length: 5\r\n", "hel"), "post /echo", "partial"),
    ]

    public static let hostile = [
        Row("length twice", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), "400"),
        Row("same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hi"), "400"),
        Row("list of lengths", post("Content-Length: 5, 5\r\n", "hello"), "400"),
        Row("negative length", post("Content-Length: -5\r\n", "hello"), "400"),
        Row("signed length", post("Content-Length: +5\r\n", "hello"), "400"),
        Row("hexadecimal length", post("Content-Length: 0x5\r\n", "hello"), "400"),
        Row("length with a space", post("Content-Length: 1 0\r\n", "hello"), "400"),
        Row("no length", post("Content-Length:\r\n", "hello"), "400"),
        Row("huge length", post("Content-Length: 1048577\r\n", ""), "413"),
        Row("length beyond 64 bits", post("Content-Length: 18446744073709551621\r\n", ""), "413"),
        Row(
            "length and chunked",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"),
        Row(
            "chunked and length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), "400"),
        Row("gzip", post("Transfer-Encoding: gzip\r\n", ""), "501"),
        Row("gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", ""), "501"),
        Row("identity", post("Transfer-Encoding: identity\r\n", ""), "501"),
        Row("xchunked", post("Transfer-Encoding: xchunked\r\n", ""), "501"),
        Row("chunked in quotes", post("Transfer-Encoding: \"chunked\"\r\n", ""), "400"),
        Row("chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", ""), "400"),
        Row("chunked, chunked", post("Transfer-Encoding: chunked, chunked\r\n", ""), "400"),
        Row(
            "chunked twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", ""), "400"),
        Row("no coding", post("Transfer-Encoding: \r\n", ""), "400"),
        Row("vertical tab coding", post("Transfer-Encoding: \u{b}chunked\r\n", ""), "400"),
        Row(
            "chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400"),
        Row("bare LF in the request line", "GET / HTTP/1.1\n\(host)\r\n", "400"),
        Row("bare LF in a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", "400"),
        Row("bare LF at the end", "GET / HTTP/1.1\r\n\(host)\n", "400"),
        Row("bare CR in a value", get("A: b\rc\r\n"), "400"),
        Row("CR CR LF", get("A: b\r\r\n"), "400"),
        Row("CR for a line", "GET / HTTP/1.1\rHost: a\r\n\r\n", "400"),
        Row("zero byte in a value", get("A: b\0c\r\n"), "400"),
        Row("zero byte in the ninth place", get("A:1234567\0\r\n"), "400"),
        Row("delete in the eighth place", get("A:1234567\u{7f}9 1234567\r\n"), "400"),
        Row("escape among many", get("A: \(x(21))\u{1b}\(x(21))\r\n"), "400"),
        Row("zero byte in a name", get("A\0: b\r\n"), "400"),
        Row("obs-fold", get("A: b\r\n c\r\n"), "400"),
        Row("obs-fold first", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400"),
        Row("space before colon", get("A : b\r\n"), "400"),
        Row("tab before colon", post("Content-Length\t: 5\r\n", "hello"), "400"),
        Row("no colon", get("Ab\r\n"), "400"),
        Row("no name", get(": b\r\n"), "400"),
        Row("a bracket in a name", get("A[: b\r\n"), "400"),
        Row("a letter beyond ASCII in a name", get("\u{c4}: b\r\n"), "400"),
        Row("no host", "GET / HTTP/1.1\r\n\r\n", "400"),
        Row("host twice", get("Host: a\r\n"), "400"),
        Row("a path in host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"),
        Row("a user in host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400"),
        Row("a list in host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400"),
        Row("unknown method", "BREW / HTTP/1.1\r\n\(host)\r\n", "501"),
        Row("small letters", "get / HTTP/1.1\r\n\(host)\r\n", "501"),
        Row("connect", "CONNECT a:80 HTTP/1.1\r\n\(host)\r\n", "501"),
        Row("a slash in the method", "G/T / HTTP/1.1\r\n\(host)\r\n", "400"),
        Row("no method", " / HTTP/1.1\r\n\(host)\r\n", "400"),
        Row("two spaces", "GET  / HTTP/1.1\r\n\(host)\r\n", "400"),
        Row("a tab for a space", "GET\t/ HTTP/1.1\r\n\(host)\r\n", "400"),
        Row("space in the target", "GET /a b HTTP/1.1\r\n\(host)\r\n", "400"),
        Row("fragment", get("", "/a#b"), "400"),
        Row("a quote in the target", get("", "/a\"b"), "400"),
        Row("raw UTF-8 in the target", get("", "/\u{e9}"), "400"),
        Row("zero byte in the target", get("", "/\0"), "400"),
        Row("relative target", get("", "a"), "400"),
        Row("ftp", get("", "ftp://a/"), "400"),
        Row("a user in the target", get("", "http://u@a/"), "400"),
        Row("a user in a target without a path", get("", "http://u@a"), "400"),
        Row("no host in the target", get("", "http:///a"), "400"),
        Row("no host, but a query", get("", "http://?a"), "400"),
        Row("asterisk for get", get("", "*"), "400"),
        Row("0.9", "GET /\r\n", "400"),
        Row("2.0", "GET / HTTP/2.0\r\n\(host)\r\n", "505"),
        Row("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
        Row("3.1", "GET / HTTP/3.1\r\n\(host)\r\n", "505"),
        Row("http in small letters", "GET / http/1.1\r\n\(host)\r\n", "400"),
        Row("1.10", "GET / HTTP/1.10\r\n\(host)\r\n", "400"),
        Row("space after the version", "GET / HTTP/1.1 \r\n\(host)\r\n", "400"),
        Row("two empty lines before", "\r\n\r\n" + get(""), "400"),
        Row(
            "unknown expectation on a line of its own",
            get("Expect: wonders\r\nExpect: 100-continue\r\n"), "417"),
        Row("one expectation is unknown", get("Expect: 100-continue, wonders\r\n"), "417"),
        Row("unknown expectation", get("Expect: wonders\r\n"), "417"),
        Row("long target", get("", "/" + x(8192)), "414"),
        Row("long target without an end", "GET /" + x(9000), "414"),
        Row("long field", get("A: " + x(8192) + "\r\n"), "431"),
        Row("long field without an end", "GET / HTTP/1.1\r\nA: " + x(9000), "431"),
        Row("long name", get(x(8192) + ": b\r\n"), "431"),
        Row("many fields", get(String(repeating: "A: b\r\n", count: 100)), "431"),
        Row("long head", get(String(repeating: "A: \(x(8000))\r\n", count: 5)), "431"),
        Row("no chunk size", chunked("\r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("bad chunk size", chunked("5g\r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("negative chunk size", chunked("-5\r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("0x chunk size", chunked("0x5\r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("space after the size", chunked("5 \r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("space before the size", chunked(" 5\r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("bare LF after the size", chunked("5\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("CR in an extension", chunked("5;a\rb\r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("blanks before nothing", chunked("5;a=b \r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("extension without a name", chunked("5;\r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row(
            "extension without a value",
            chunked("5;a=\r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("two equals signs", chunked("5;a==b\r\nhello\r\n0\r\n\r\n"), "post /echo", "400"),
        Row(
            "extensions without a sign", chunked("5;a b\r\nhello\r\n0\r\n\r\n"), "post /echo", "400"
        ),
        Row("a quote that stays open", chunked("1;a=\"x\r\n\"\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("an escaped last quote", chunked("1;a=\"x\\\"\r\ny\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("text behind a quote", chunked("1;a=\"x\"y\r\ny\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("a quoted zero byte", chunked("1;a=\"\0\"\r\ny\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("an escaped zero byte", chunked("1;a=\"\\\0\"\r\ny\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("long chunk", chunked("5\r\nhello!\r\n0\r\n\r\n"), "post /echo", "400"),
        Row("bare LF after a chunk", chunked("5\r\nhello\n0\r\n\r\n"), "post /echo", "400"),
        Row("huge chunk", chunked("fffff1\r\n"), "post /echo", "413"),
        Row("chunk beyond 64 bits", chunked("10000000000000005\r\n"), "post /echo", "413"),
        Row("long extension", chunked("5;" + x(300) + "\r\n"), "post /echo", "413"),
        Row("long extension without an end", chunked("5;" + x(300)), "post /echo", "413"),
        Row("bad trailer", chunked("0\r\nA : b\r\n\r\n"), "post /echo", "400"),
        Row("length in a trailer", chunked("0\r\nContent-Length: 7\r\n\r\n"), "post /echo", "400"),
        Row(
            "coding in a trailer", chunked("0\r\nTransfer-Encoding: x\r\n\r\n"), "post /echo", "400"
        ),
        Row("folded trailer", chunked("0\r\nA: b\r\n c\r\n\r\n"), "post /echo", "400"),
        Row("bare LF after trailers", chunked("0\r\nA: b\r\n\n"), "post /echo", "400"),
        Row("long trailer", chunked("0\r\nA: \(x(9000))\r\n\r\n"), "post /echo", "431"),
        Row(
            "many trailers", chunked("0\r\n" + String(repeating: "A: b\r\n", count: 101)),
            "post /echo", "431"),
        Row("garbage", "\u{16}\u{3}\u{1}\0\u{5}\r\n", "400"),
        Row("TLS", "\u{16}", "400"),
        Row("TLS, long", "\u{16}\u{3}\u{1}" + x(9000), "400"),
        Row("RDP", "\u{3}\0\0\u{13}\u{e}", "400"),
        Row("SOCKS", "\u{5}\u{1}\0", "400"),
        Row("zero bytes", "\0\0", "400"),
        Row("a zero byte in the method", "GE\0", "400"),
        Row("a return and no line feed", "\rG", "400"),
        Row("garbage behind an empty line", "\r\n\u{16}", "400"),
        Row(
            "coding on two lines",
            post(
                "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", ""), "501"),
    ]
}
