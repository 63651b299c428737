/// Subscribers of kv-server's channels: what they are told, in what order, and who is cut off.
import TestSupport
import Testing

@Suite struct SubscriberTests {
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
}
