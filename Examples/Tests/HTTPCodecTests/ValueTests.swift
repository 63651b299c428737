/// Ranges, entity tags and paths: the values of fields and targets.
import HTTPCodec
import Testing

@Suite struct ValueTests {
    private func with<R>(_ text: String, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        Array(text.utf8).withUnsafeBytes(body)
    }

    @Test(
        "each Range value becomes a part, the whole file or an unsatisfiable range",
        arguments: [
            ("bytes=0-4", ByteRange.part(0..<5)), ("bytes=5-", .part(5..<10)),
            ("bytes=-3", .part(7..<10)), ("bytes=-30", .part(0..<10)),
            ("bytes=5-50", .part(5..<10)),
            ("bytes=9-9", .part(9..<10)), ("bytes=10-", .unsatisfiable),
            ("bytes=-0", .unsatisfiable),
            ("bytes=99999999999999999999-", .unsatisfiable),
            ("bytes=9000000000000000000-9000000000000000003", .unsatisfiable),
            ("bytes=0-99999999999999999999", .part(0..<10)), ("bytes=5-4", .whole),
            ("bytes=0-1,3-4", .whole), ("lines=1-2", .whole), ("bytes=", .whole),
            ("bytes=-", .whole),
            ("bytes=a-b", .whole), ("Bytes=0-0", .part(0..<1)),
        ])
    func ranges(_ text: String, _ expected: ByteRange) {
        #expect(with(text) { ByteRange($0, size: 10) } == expected)
    }

    @Test(
        "entity tags are compared weakly and strongly",
        arguments: [
            ("\"a\"", true, true), ("W/\"a\"", true, false), ("\"b\", \"a\"", true, true),
            ("\"b\", W/\"a\"", true, false), ("*", true, true), ("\"b\"", false, false),
            ("a", false, false), ("", false, false), ("W/", false, false), (",\"a\",", true, true),
        ])
    func entityTagsCompareWeaklyAndStrongly(_ list: String, _ weakly: Bool, _ strongly: Bool) {
        with(list) { list in
            with("\"a\"") { tag in
                #expect(entityTags(list, name: tag) == weakly)
                #expect(entityTags(list, name: tag, strongly: true) == strongly)
            }
        }
    }

    /// Lists extend from the first value to the last. Other fields between them are no part of the
    /// list.
    @Test(
        "a list of entity tags may extend over several field lines",
        arguments: [
            ("\"b\"\r\nIF: \"a\"", true), ("\"a\"\r\nIF: \"b\"", true), ("\"b\"\r\nIF:\t* ", true),
            ("\"b\"\r\nIF: \"c\" , \"a\" \r\nIF: \"d\"", true),
            ("\"b\"\r\nX: \"a\"\r\nIF: \"d\"", false),
            ("\"b\"\r\nX: *\r\nIF: \"d\"", false), ("\"b\"\r\nX: c\r\nIF: \"a\"", true),
        ])
    func listsMayBeOnSeveralLines(_ list: String, _ isNamed: Bool) {
        with("\"a\"") { tag in
            with(list.replacing("IF", with: "If-None-Match")) { list in
                #expect(entityTags(list, name: tag) == isNamed)
            }
            with(list.replacing("IF", with: "if-match")) { list in
                #expect(entityTags(list, name: tag, strongly: true) == isNamed)
            }
        }
    }

    @Test(
        "each path stays under the root or is refused",
        arguments: [
            ("/", [String]()), ("/a/b.txt", ["a", "b.txt"]), ("//a//", ["a"]), ("/a%20b", ["a b"]),
            ("/../a", nil), ("/a/../../b", nil), ("/%2e%2e/a", nil), ("/a%2fb", nil),
            ("/a%00", nil),
            ("/.git", nil), ("/a%2", nil), ("/a%zz", nil), ("/./a", nil), ("/%252e", ["%2e"]),
            ("/.well-known/a", [".well-known", "a"]), ("/%2ewell-known", [".well-known"]),
            ("/a/.well-known/a", nil), ("/.well-known/../a", nil), ("/.well-known/.a", nil),
            ("/.well-knowns", nil), ("/.well", nil),
        ])
    func pathsStayUnderTheRoot(_ text: String, _ expected: [String]?) {
        let names = with(text) { FilePath.names(in: $0) }
        #expect(names?.map { String(decoding: $0, as: UTF8.self) } == expected)
    }

    /// Locations begin at the root with one slash, because two slashes would name a host.
    @Test(
        "the location of a folder begins at the root with one slash",
        arguments: [
            ("//evil.example/a", "/evil.example/a/"), ("/a%20b", "/a%20b/"),
            ("/%25%0d%0A", "/%25%0D%0A/"),
            ("/a:b@c", "/a%3Ab%40c/"),
        ])
    func foldersAreNamedFromTheRootOn(_ path: String, _ expected: String) {
        let names = with(path) { FilePath.names(in: $0) } ?? []
        #expect(String(decoding: FilePath.location(of: names), as: UTF8.self) == expected)
    }
}
