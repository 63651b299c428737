/// Files: whole, in parts and under conditions, and paths that are refused.
import Glibc
import HTTPCodec
import TestSupport
import Testing

@Suite struct FileTests {
    private func get(_ path: String, _ fields: String = "", method: String = "GET") -> String {
        "\(method) \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
    }

    @Test(
        "ranges and conditional fields select the whole file, a part or no body",
        arguments: Form.all)
    func partsAndConditions(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let client = try server.client()
        func ask(_ path: String, _ fields: String = "") throws -> Response {
            client.send(get(path, fields))
            return try client.receiveResponse()
        }
        let whole = try ask("/ten.txt")
        #expect(whole.text == "0123456789" && whole["accept-ranges"] == "bytes")
        #expect(whole["content-type"] == "text/plain; charset=utf-8")
        let tag = try #require(whole["etag"])
        let date = try #require(whole["last-modified"])
        let part = try ask("/ten.txt", "Range: bytes=2-4\r\n")
        #expect(part.status == 206 && part.text == "234")
        #expect(part["content-range"] == "bytes 2-4/10")
        #expect(try ask("/ten.txt", "Range: bytes=-2\r\n").text == "89")
        let beyond = try ask("/ten.txt", "Range: bytes=10-\r\n")
        #expect(beyond.status == 416 && beyond["content-range"] == "bytes */10")
        #expect(try ask("/ten.txt", "Range: bytes=0-1,3-4\r\n").status == 200)
        #expect(try ask("/ten.txt", "Range: bytes=0-1\r\nIf-Range: \(tag)\r\n").status == 206)
        #expect(try ask("/ten.txt", "Range: bytes=0-1\r\nIf-Range: \(date)\r\n").status == 206)
        #expect(try ask("/ten.txt", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n").status == 200)
        #expect(try ask("/ten.txt", "If-None-Match: W/\(tag)\r\n").status == 304)
        #expect(try ask("/ten.txt", "If-None-Match: \"x\"\r\n").status == 200)
        #expect(try ask("/ten.txt", "If-Modified-Since: \(date)\r\n").status == 304)
        let past = "Sun, 06 Nov 1994 08:49:37 GMT"
        #expect(try ask("/ten.txt", "If-Modified-Since: \(past)\r\n").status == 200)
        let fields = "If-None-Match: \"x\"\r\nIf-Modified-Since: \(date)\r\n"
        #expect(try ask("/ten.txt", fields).status == 200)
        #expect(try ask("/ten.txt", "If-Match: \"x\", \(tag)\r\n").status == 200)
        #expect(try ask("/ten.txt", "If-Match: *\r\n").status == 200)
        #expect(try ask("/ten.txt", "If-Unmodified-Since: \(date)\r\n").status == 200)
        #expect(try ask("/ten.txt", "If-Unmodified-Since: never\r\n").status == 200)
        // If the request has a tag, the date does not count.
        let both = "If-Match: \(tag)\r\nIf-Unmodified-Since: \(past)\r\n"
        #expect(try ask("/ten.txt", both).status == 200)
        for field in [
            "If-Match: \"x\"", "If-Match: W/\(tag)", "If-Unmodified-Since: \(past)",
            "If-None-Match: \(tag)\r\nIf-Match: \"x\"",
        ] {
            let changed = try ask("/ten.txt", "\(field)\r\n")
            #expect(changed.status == 412 && changed.text.isEmpty, "\(field)")
        }
        #expect(try ask("/?q").text == "<p>hello")
        client.send(get("/big", method: "HEAD"))
        #expect(try client.receiveResponse(toHead: true)["content-length"] == "3000000")
    }

    @Test("a path outside the root returns 400 or 404", arguments: Form.all)
    func whatIsOutsideIsNotToBeHad(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let client = try server.client()
        let refused = [
            ("/../secret", 400), ("/x/../../secret", 400), ("/%2e%2e/secret", 400),
            ("/..%2fsecret", 400), ("/ten.txt%00", 400), ("/.hidden", 400), ("/%zz", 400),
            ("/link", 404), ("/fifo", 404), ("/none", 404), ("/ten.txt/", 404), ("//secret", 404),
            ("/..%5csecret", 400),
        ]
        for (path, status) in refused {
            client.send(get(path))
            #expect(try client.receiveResponse().status == status, "\(path)")
        }
    }

    @Test(
        "a folder without a final slash is redirected, and a folder returns its index file",
        arguments: Form.all)
    func foldersAndTheirNames(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let client = try server.client()
        func ask(_ path: String, _ method: String = "GET") throws -> Response {
            client.send(get(path, method: method))
            return try client.receiveResponse(toHead: method == "HEAD")
        }
        for (path, place) in [
            ("/folder", "/folder/"), ("/folder?a/b=c", "/folder/?a/b=c"), ("//folder", "/folder/"),
            ("/%66older", "/folder/"), ("/.well-known", "/.well-known/"),
            ("http://other/folder?q", "/folder/?q"),
        ] {
            for method in ["GET", "HEAD"] {
                let moved = try ask(path, method)
                #expect(moved.status == 301 && moved["location"] == place, "\(method) \(path)")
            }
        }
        // This query is far longer than a response's head.
        let query = String(repeating: "q", count: 8000)
        #expect(try ask("/folder?\(query)")["location"] == "/folder/?\(query)")
        #expect(try ask("/folder/").text == "<p>folder")
        #expect(try ask("/.well-known/index.html").text == "<p>.well-known")
        #expect(try ask("/.well-known/none").status == 404)
        #expect(try ask("/folder/.well-known/index.html").status == 400)
        #expect(try ask("/PHOTO.JPG")["content-type"] == "image/jpeg")
        #expect(try server.stop() == 0)
    }

    /// The test uses a file system that stores all of these times.
    @Test(
        "a file's time outside the range of HTTP dates does not end the server",
        arguments: Form.all, [Int.min, -62_167_219_201, 253_402_300_800, Int.max])
    func noTimeOfAFileEndsTheServer(_ form: Form, _ seconds: Int) throws {
        let root = TemporaryPath.make("root", in: "/dev/shm")
        try #require(mkdir(root, 0o700) == 0)
        let path = "\(root)/a.txt"
        defer {
            unlink(path)
            rmdir(root)
        }
        close(open(path, O_WRONLY | O_CREAT, 0o644))
        let times = [timespec(tv_sec: seconds, tv_nsec: 0), timespec(tv_sec: seconds, tv_nsec: 0)]
        try #require(utimensat(AT_FDCWD, path, times, 0) == 0)
        let server = try ServerUnderTest(form, ["--root", root])
        let client = try server.client()
        client.send(get("/a.txt"))
        let whole = try client.receiveResponse()
        #expect(whole.status == 200)
        let date = try #require(whole["last-modified"])
        #expect(date.hasSuffix(" GMT") && date.utf8.count == 29, "\(date)")
        for field in ["If-Modified-Since: \(date)", "If-None-Match: \(whole["etag"]!)"] {
            client.send(get("/a.txt", "\(field)\r\n"))
            let status = try client.receiveResponse().status
            // A time in the future is reported as the current time, which may have advanced by a
            // second.
            #expect(status == 304 || status == 200 && seconds > time(nil), "\(field)")
        }
        let told = Array(date.utf8).withUnsafeBytes { HTTPDate.parse($0, now: time(nil)) }
        #expect(try #require(told) <= time(nil), "\(date)")
        #expect(try server.stop() == 0)
    }

    @Test("conditions are read in obsolete date formats and on several lines", arguments: Form.all)
    func conditionsInOldFormsAndOnSeveralLines(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let client = try server.client()
        client.send(get("/ten.txt"))
        let tag = try #require(client.receiveResponse()["etag"])
        for (fields, status) in [
            ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 200),
            ("If-Unmodified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 412),
            ("If-Unmodified-Since: Monday, 06-Nov-94 08:49:37 GMT", 200),
            ("If-Unmodified-Since: Thu Jan  1 00:00:00 1970", 412),
            ("If-Modified-Since: Fri Dec 31 23:59:59 9999", 304),
            ("If-None-Match: \(tag)\r\nIf-None-Match: \"x\"", 304),
            ("If-None-Match: \"x\"\r\nA: b\r\nIf-None-Match: \(tag)", 304),
            ("If-Match: \(tag)\r\nIf-Match: \"x\"", 200),
            ("If-Match: \"y\"\r\nIf-Match: \"x\"", 412),
            ("Range: bytes=0-1\r\nIf-Range: Thu Jan  1 00:00:00 1970", 200),
            ("Range: bytes=0-1\r\nRange: bytes=2-3", 200),
        ] {
            client.send(get("/ten.txt", "\(fields)\r\n"))
            #expect(try client.receiveResponse().status == status, "\(fields)")
        }
    }

    private static let lookUps = [
        ("/none", "", 404), ("/ten.txt", "If-None-Match: *\r\n", 304), ("/ten.txt", "", 200),
    ]

    /// A turn handles only some requests that need the disk, so that other clients get their turn.
    @Test(
        "a pipeline of requests for files is handled in many loop turns",
        arguments: Form.all, lookUps)
    func aPipelineOfLookUpsTakesManyTurns(
        _ form: Form, _ asked: (path: String, fields: String, status: Int)
    ) throws {
        let server = try ServerUnderTest(form)
        let client = try server.client()
        let rounds = 1500
        let pipeline = String(repeating: get(asked.path, asked.fields), count: rounds)
        func turns() throws -> Int { try #require(server.metrics()["loop_turns_total"]) }
        func answers(_ client: Client) throws -> Int {
            var count = 0
            while count < rounds, try client.receiveResponse().status == asked.status { count += 1 }
            return count
        }
        let before = try turns()
        client.send(pipeline)
        #expect(try answers(client) == rounds)
        #expect(try turns() - before > rounds / 20)
        // A client that ends its side together with the pipeline gets every response too.
        let ended = try server.client()
        ended.send(pipeline)
        ended.shutdownWrite()
        #expect(try answers(ended) == rounds)
        #expect(try ended.isAtEnd())
        // A later request and the end of the stream are handled as usual.
        client.send(get("/ten.txt"))
        #expect(try client.receiveResponse().text == "0123456789")
        client.shutdownWrite()
        #expect(try client.isAtEnd())
        client.close()
        #expect(try server.stop() == 0)
    }

    /// A lack of resources must not look like a missing file, because caches keep a 404.
    @Test(
        "a server without free descriptors returns status 500 for an existing file",
        arguments: Form.all)
    func aServerOutOfDescriptorsSaysSo(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        func limit(_ most: String) throws {
            let words = ["prlimit", "--pid", "\(server.program.id)", "--nofile=\(most):"]
            #expect(try ChildProcess(words).finish().end == .exited(0))
        }
        func status(_ path: String) throws -> Int {
            client.send(get(path))
            return try client.receiveResponse().status
        }
        let client = try server.client()
        #expect(try status("/ten.txt") == 200)
        try limit("3")
        #expect(try status("/ten.txt") == 500)
        try limit("1024")
        #expect(try status("/ten.txt") == 200)
        #expect(try status("/none") == 404)
        client.close()
        #expect(try server.stop() == 0)
    }

    /// The file is far longer than a connection's buffers. The client waits before it reads, and
    /// more requests follow in its pipeline.
    @Test("a client that reads a long file slowly receives all of it", arguments: Form.all)
    func aLongFileWaitsForASlowReader(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let client = try server.client()
        client.send(get("/big") + get("/ten.txt") + get("/big", "Range: bytes=1-2000000\r\n"))
        usleep(200_000)
        #expect(try client.receiveResponse().body == ServerUnderTest.bigFile)
        #expect(try client.receiveResponse().text == "0123456789")
        let part = try client.receiveResponse()
        #expect(part.body == Array(ServerUnderTest.bigFile[1...2_000_000]))
        // A client that has ended its side still gets the whole file.
        let ended = try server.client()
        ended.send(get("/big", "Connection: close\r\n"))
        usleep(100_000)
        ended.shutdownWrite()
        #expect(try ended.receiveResponse().body == ServerUnderTest.bigFile)
        #expect(try ended.isAtEnd())
        client.close()
        ended.close()
        #expect(try server.stop() == 0)
    }
}
