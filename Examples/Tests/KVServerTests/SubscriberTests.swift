/// Subscribers of kv-server's channels: their messages, the order of these, and slow subscribers.
import TestSupport
import Testing

@Suite struct SubscriberTests {
    @Test("messages reach subscribers on every loop", arguments: Form.all)
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

    @Test("no message follows the end of a subscription", arguments: Form.all)
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

    /// Leaves and joins a channel while messages are on their way. In between, the subscriber reads
    /// a counter that the publisher increments. The counter shows which messages were published
    /// before and after the new subscription.
    @Test("a new subscription receives no earlier messages", arguments: Form.all)
    func aNewSubscriptionGetsNoEarlierMessages(_ form: Form) throws {
        let server = try ServerProcess(form)
        let (publisher, subscriber) = (try server.connect(), try server.connect())
        // In RESP3, a subscriber may send other commands.
        try subscriber.send("HELLO 3\r\nSUBSCRIBE news\r\n")
        let joined = ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
        _ = try subscriber.receive(until: joined)
        let numbers = 1000..<1500
        let published = numbers.map { "SET c \($0)\r\nPUBLISH news \($0)\r\n" }.joined()
        let answered = String(repeating: "+OK\r\n:1\r\n", count: numbers.count).utf8.count
        for _ in 0..<60 {
            try publisher.send("SET c 1000\r\n")
            #expect(try publisher.receive(as: "+OK\r\n") == "+OK\r\n")
            try publisher.send(published)
            try subscriber.send(
                "UNSUBSCRIBE news\r\nGET c\r\nSUBSCRIBE news\r\nGET c\r\n")
            // The number of receivers does not matter, and every reply has the same length.
            _ = try publisher.receive(exactly: answered)
            var text = ""
            while !text.contains(joined) { text += try subscriber.receive(until: "\r\n") }
            try publisher.send("PUBLISH news end\r\n")
            #expect(try publisher.receive(as: ":1\r\n") == ":1\r\n")
            text += try subscriber.receive(until: "$3\r\nend\r\n")
            let round = try Resubscription(text, joined)
            #expect(round.messages.allSatisfy { $0 >= round.before })
            // No message is missing either.
            #expect(round.messages.suffix(1) == [1499] || round.after == 1499)
            #expect(zip(round.messages, round.messages.dropFirst()).allSatisfy { $0 + 1 == $1 })
            #expect((round.messages.first ?? 1500) <= round.after + 1)
        }
        #expect(try server.stop() == 0)
    }

    /// A subscriber that reads nothing is disconnected. The count of receivers that PUBLISH returns
    /// shows the end of its connection.
    @Test("a subscriber that never reads is disconnected", arguments: Form.all)
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
}

/// The messages to a subscriber that left a channel and joined it again.
private struct Resubscription {
    /// The counter before and after the new subscription.
    let before: Int
    let after: Int
    /// The numbers in the messages of the new subscription, without the last message.
    let messages: [Int]

    init(_ text: String, _ joined: String) throws {
        let halves = text.split(separator: joined)
        guard halves.count == 2, let before = Int(halves[0].split(separator: "\r\n").last ?? "")
        else { throw Failure("not a confirmation: \(text)") }
        self.before = before
        let lines = halves[1].split(separator: "\r\n")
        var (messages, after) = ([Int](), 0)
        var index = 0
        while index < lines.count {
            // A message is seven lines, the counter two.
            let isMessage = lines[index] == ">3"
            index += isMessage ? 7 : 2
            guard index <= lines.count else { throw Failure("cut short: \(lines)") }
            guard let number = Int(lines[index - 1]) else { continue }
            if isMessage { messages.append(number) } else { after = number }
        }
        (self.messages, self.after) = (messages, after)
    }
}
