/// kv-server as its users see it: a process on each backend, raw sockets and Redis's own tools.
import Glibc
import TestSupport
import Testing

@Suite struct KVServerTests {
    @Test("pipelined replies keep the order of their requests", arguments: Form.all)
    func pipelinedRepliesKeepTheirOrder(_ form: Form) throws {
        let server = try ServerProcess(form)
        let clients = try (0..<4).map { _ in try server.connect() }
        for (number, client) in clients.enumerated() {
            var request = ""
            for index in 0..<2000 {
                request += "SET k\(number) \(index)\r\nECHO e\(index)\r\nGET k\(number)\r\n"
            }
            try client.send(request)
        }
        for client in clients {
            var expected = ""
            for index in 0..<2000 {
                let digits = "\(index)".count
                expected += "+OK\r\n$\(digits + 1)\r\ne\(index)\r\n$\(digits)\r\n\(index)\r\n"
            }
            #expect(try client.receive(as: expected) == expected)
        }
        #expect(try server.stop() == 0)
    }

    @Test("requests that arrive byte by byte are answered", arguments: Form.all)
    func requestsArriveByteByByte(_ form: Form) throws {
        let server = try ServerProcess(form)
        let client = try server.connect()
        for byte in "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nh\r\nlo\r\nGET a\r\n".utf8 {
            try client.send([byte])
            usleep(300)
        }
        let expected = "+OK\r\n$5\r\nh\r\nlo\r\n"
        #expect(try client.receive(as: expected) == expected)
        #expect(try server.stop() == 0)
    }

    /// Requests far more replies than the marks allow. No reply is lost, and no buffer overflows.
    @Test("a client that reads large replies slowly receives all of them", arguments: Form.all)
    func aSlowReaderOfLargeRepliesGetsThemAll(_ form: Form) throws {
        let server = try ServerProcess(form)
        let client = try server.connect(receiveBuffer: 4096)
        let value = String(repeating: "v", count: 100_000)
        try client.send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n\(value)\r\n")
        #expect(try client.receive(as: "+OK\r\n") == "+OK\r\n")
        // 100 MB of replies, above the limit at which a connection is reset.
        try client.send(String(repeating: "GET a\r\n", count: 1000) + "QUIT\r\n")
        usleep(300_000)
        var count = 0
        while true {
            let more = try client.receiveSome()
            if more.isEmpty { break }
            count += more.count
        }
        #expect(count == 1000 * (9 + 100_000 + 2) + 5)
        #expect(try server.stop() == 0)
    }

    /// One reply may be longer than the library's own limit on a connection's buffers.
    @Test("a client receives a large value completely", arguments: ["epoll", "io_uring"])
    func aLargeValueComesBack(_ backend: String) throws {
        let server = try ServerProcess(Form(backend: backend, loops: 1))
        let client = try server.connect()
        // The size is above that limit even without the bytes that the kernel accepts at once.
        let size = 80 << 20
        try client.send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$\(size)\r\n")
        try client.send([UInt8](repeating: 0x76, count: size))
        try client.send("\r\n")
        #expect(try client.receive(as: "+OK\r\n") == "+OK\r\n")
        try client.send("GET a\r\nQUIT\r\n")
        var count = 0
        while true {
            let more = try client.receiveSome()
            if more.isEmpty { break }
            count += more.count
        }
        #expect(count == 11 + size + 2 + 5)
        #expect(try server.stop() == 0)
    }

    /// An HTTP request that a page makes a browser send is not served, and neither are commands
    /// behind it.
    @Test(
        "the server closes a connection that sends HTTP and executes no command after it",
        arguments: Form.all)
    func aBrowserIsNotServed(_ form: Form) throws {
        let server = try ServerProcess(form)
        for start in ["POST / HTTP/1.1\r\n", "hOST: a\r\n"] {
            let browser = try server.connect()
            try browser.send("PING\r\n\(start)\r\nSET a 1\r\nPING\r\n")
            #expect(try browser.receiveAll() == "+PONG\r\n")
        }
        let client = try server.connect()
        try client.send("EXISTS a\r\n")
        #expect(try client.receive(as: ":0\r\n") == ":0\r\n")
        #expect(try server.stop() == 0)
    }

    @Test("requests sent before SIGTERM are answered", arguments: Form.all)
    func whatWasAskedBeforeSIGTERMIsAnswered(_ form: Form) throws {
        let server = try ServerProcess(form)
        let client = try server.connect()
        try client.send(String(repeating: "PING\r\n", count: 1000))
        #expect(try client.receive(as: "+PONG\r\n") == "+PONG\r\n")
        server.terminate()
        #expect(try client.receiveAll() == String(repeating: "+PONG\r\n", count: 999))
        #expect(try server.stop() == 0)
    }
}
