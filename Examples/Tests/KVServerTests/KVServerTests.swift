/// kv-server as its users meet it: a process on each backend, raw sockets and Redis's own tools.
import Glibc
import Testing

@Suite struct KVServerTests {
    @Test(arguments: Form.all)
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

    @Test(arguments: Form.all)
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

    /// Far more replies than the marks allow: nothing is lost, nothing overflows.
    @Test(arguments: Form.all)
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

    @Test(arguments: Form.all)
    func messagesReachSubscribersOnEveryLoop(_ form: Form) throws {
        let server = try ServerProcess(form)
        let subscribers = try (0..<4).map { _ in try server.connect() }
        for (number, subscriber) in subscribers.enumerated() {
            if number == 3 {
                try subscriber.send("HELLO 3\r\n")
                while try !subscriber.receiveSome().starts(with: Array("%7".utf8)) {}
            }
            try subscriber.send("SUBSCRIBE news\r\n")
            let head = number == 3 ? ">" : "*"
            let expected = "\(head)3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
            #expect(try subscriber.receive(as: expected) == expected)
        }
        let publisher = try server.connect()
        try publisher.send((0..<500).map { "PUBLISH news m\($0)\r\n" }.joined())
        let counts = String(repeating: ":4\r\n", count: 500)
        #expect(try publisher.receive(as: counts) == counts)
        for (number, subscriber) in subscribers.enumerated() {
            let head = number == 3 ? ">" : "*"
            let expected = (0..<500).map { index in
                "\(head)3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$\("m\(index)".count)\r\nm\(index)\r\n"
            }.joined()
            #expect(try subscriber.receive(as: expected) == expected)
        }
        #expect(try server.stop() == 0)
    }

    /// One reply may be longer than the library's own limit on what a connection holds.
    @Test(arguments: ["epoll", "io_uring"])
    func aLargeValueComesBack(_ backend: String) throws {
        let server = try ServerProcess(Form(backend: backend, loops: 1))
        let client = try server.connect()
        // Above that limit also without what the kernel takes at once.
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

    @Test(arguments: Form.all)
    func noMessageFollowsTheEndOfASubscription(_ form: Form) throws {
        let server = try ServerProcess(form)
        let (publisher, subscriber) = (try server.connect(), try server.connect())
        let left = "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n"
        let published = String(repeating: "PUBLISH news m\r\n", count: 500)
        for _ in 0..<40 {
            try subscriber.send("SUBSCRIBE news\r\n")
            let joined = "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
            #expect(try subscriber.receive(as: joined) == joined)
            try publisher.send(published)
            try subscriber.send("UNSUBSCRIBE\r\nECHO end\r\n")
            var text = ""
            while !text.hasSuffix("$3\r\nend\r\n") {
                let more = try subscriber.receiveSome()
                guard !more.isEmpty else { throw Failure("ended after \(text)") }
                text += String(decoding: more, as: UTF8.self)
            }
            #expect(text.hasSuffix(left + "$3\r\nend\r\n"), "\(text.suffix(200))")
            // Every PUBLISH of the round is answered before the next subscription.
            for _ in 0..<500 { _ = try publisher.receive(as: ":1\r\n") }
        }
        #expect(try server.stop() == 0)
    }

    /// A subscriber that takes nothing is cut off; that its connection ended shows in the count of
    /// whom a message goes to.
    @Test(arguments: Form.all)
    func aSubscriberThatNeverReadsIsCutOff(_ form: Form) throws {
        let server = try ServerProcess(form)
        let subscriber = try server.connect(receiveBuffer: 4096)
        try subscriber.send("SUBSCRIBE news\r\n")
        let joined = "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
        #expect(try subscriber.receive(as: joined) == joined)
        let publisher = try server.connect()
        let message = String(repeating: "m", count: 1 << 20)
        var told = 0
        while told < 200 {
            try publisher.send("*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$1048576\r\n\(message)\r\n")
            guard try publisher.receive(as: ":1\r\n") == ":1\r\n" else { break }
            told += 1
        }
        #expect(30..<200 ~= told, "\(told) MiB")
        #expect(try server.stop() == 0)
    }

    /// In one turn a loop is given more messages than it takes: some subscribers miss some, and
    /// none of these stays connected.
    @Test(arguments: ["epoll", "io_uring"])
    func whoMissesAMessageIsCutOff(_ backend: String) throws {
        let server = try ServerProcess(Form(backend: backend, loops: 1))
        let joined = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
        let subscribers = try (0..<60).map { _ in try server.connect() }
        for subscriber in subscribers {
            try subscriber.send("SUBSCRIBE a\r\n")
            #expect(try subscriber.receive(as: joined) == joined)
        }
        let publisher = try server.connect()
        try publisher.send(String(repeating: "PUBLISH a m\r\n", count: 5000) + "GET none\r\n")
        var last: [UInt8] = []
        while !last.elementsEqual("$-1\r\n".utf8) {
            let more = try publisher.receiveSome()
            guard !more.isEmpty else { throw Failure("the publisher was cut off") }
            last = (last + more).suffix(5)
        }
        let messages = 5000 * "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n".utf8.count
        var cutOff = 0
        for subscriber in subscribers {
            var count = 0
            while count < messages {
                // Throws if it waits in vain.
                guard let more = try subscriber.receiveSomeUntilReset(), !more.isEmpty else {
                    cutOff += 1
                    break
                }
                count += more.count
            }
        }
        #expect(cutOff > 0)
        #expect(try server.stop() == 0)
    }

    @Test(arguments: Form.all)
    func whatWasAskedBeforeSIGTERMIsAnswered(_ form: Form) throws {
        let server = try ServerProcess(form)
        let client = try server.connect()
        try client.send(String(repeating: "PING\r\n", count: 1000))
        usleep(100_000)
        server.terminate()
        #expect(try client.receiveUntilEnd() == String(repeating: "+PONG\r\n", count: 1000))
        #expect(try server.stop() == 0)
    }
}
