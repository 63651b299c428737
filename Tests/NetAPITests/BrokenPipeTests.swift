/// Tests of a pipe with a broken side: earlier bytes are sent first, and a cut stream never looks
/// like a complete one.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct BrokenPipeTests {
    /// The upstream answers without reading the upload, so that the proxy's own send fails. The
    /// client reads after that.
    @Test(
        "a proxy delivers an early answer whole before the reset",
        arguments: [100_000, 6 << 20])
    func anEarlyAnswerArrivesWholeBeforeTheReset(size: Int) async {
        await sideBySide(Setup.receiving) { setup in
            let pattern = Pattern(stream: size)
            let upstream = try RawListener()
            try withPipes(setup, to: upstream.address) { proxy, _ in
                let (client, far) = try connectThrough(proxy, upstream)
                try client.fill(Pattern(stream: 9))
                let taken = try answer(pattern, size, from: far, to: client)
                // Unread input makes the close a reset.
                far.close()
                // The test cannot observe that the proxy has seen the reset.
                pause(.milliseconds(50))
                try client.receive(pattern, exactly: size - taken, from: taken)
                #expect(try client.receiveEnd().isReset)
                client.close()
                try proxy.waitUntilEmpty()
            }
        }
    }

    @Test(
        "a proxy forwards an answer that is cut off and then the reset",
        arguments: Setup.receiving)
    func anAnswerThatIsCutOffEndsWithAReset(_ setup: Setup) throws {
        let pattern = Pattern(stream: 2)
        let upstream = try RawListener()
        try withPipes(setup, to: upstream.address) { proxy, _ in
            for size in [1, 20_000, 1_000_000] {
                let (client, far) = try connectThrough(proxy, upstream)
                let reader = Worker { try client.receiveUntilEnd(pattern) }
                try far.sendAndReset(pattern.bytes(size))
                let (count, end) = try reader.join("receiving")
                #expect(count == size)
                #expect(end.isReset, "\(size) bytes and then \(end)")
                client.close()
            }
            try proxy.waitUntilEmpty()
        }
    }

    @Test(
        "a proxy forwards an upload that is cut off and then the reset",
        arguments: Setup.receiving)
    func anUploadThatIsCutOffEndsWithAReset(_ setup: Setup) throws {
        let pattern = Pattern(stream: 3)
        let upstream = try RawListener()
        try withPipes(setup, to: upstream.address) { proxy, _ in
            for size in [1, 20_000, 1_000_000] {
                let (client, far) = try connectThrough(proxy, upstream)
                let reader = Worker { try far.receiveUntilEnd(pattern) }
                try client.sendAndReset(pattern.bytes(size))
                let (count, end) = try reader.join("receiving")
                #expect(count == size)
                #expect(end.isReset, "\(size) bytes and then \(end)")
                far.close()
            }
            try proxy.waitUntilEmpty()
        }
    }

    /// The far side still sends when half of the stop's time is over. Both connections of the proxy
    /// then close in one turn.
    @Test("a stop in the middle of a download resets the client, which must not see an end")
    func stopInTheMiddle() async {
        await sideBySide(Setup.receiving) { setup in
            let pattern = Pattern(stream: 6)
            // A stop takes a far side that the machine holds up for 20 ms for a silent one.
            try keepingPace(of: .milliseconds(20)) { pace in
                let upstream = try RawListener()
                try withPipes(setup, to: upstream.address) { proxy, _ in
                    let (client, far) = try connectThrough(proxy, upstream)
                    let reader = Worker { try client.receiveUntilEnd(pattern) }
                    let sender = Worker {
                        let sending = Pace()
                        var sent = 0
                        // Until the proxy has closed its side.
                        while (try? far.send(pattern.bytes(1000, from: sent))) != nil {
                            sending.mark()
                            sent += 1000
                            pause(.milliseconds(2))
                        }
                        return sending.longest
                    }
                    pause(.milliseconds(50))
                    proxy.server.stop(within: .seconds(1))
                    let (count, end) = try reader.join("receiving")
                    pace.rest()
                    pace.note(try sender.join("sending"))
                    try must(count > 1000 && end.isReset, "\(count) bytes and then \(end)")
                }
            }
        }
    }

    /// It only downloads, so that it is silent for the read time-out.
    @Test("a client that a time-out closes in the middle of its download gets a reset")
    func timeoutInTheMiddle() async {
        await sideBySide(Setup.receiving) { setup in
            let pattern = Pattern(stream: 8)
            let upstream = try RawListener()
            let options = setup.options { $0.timeouts.read = .milliseconds(400) }
            try withPipes(setup, to: upstream.address, options: options) { proxy, _ in
                let (client, far) = try connectThrough(proxy, upstream)
                let reader = Worker { try client.receiveUntilEnd(pattern) }
                let sender = Worker {
                    var sent = 0
                    // Until the proxy has closed its side.
                    while (try? far.send(pattern.bytes(1000, from: sent))) != nil {
                        sent += 1000
                        pause(.milliseconds(2))
                    }
                }
                let (count, end) = try reader.join("receiving")
                #expect(count > 1000 && end.isReset, "\(count) bytes and then \(end)")
                try sender.join("sending")
                client.close()
                try proxy.waitUntilEmpty()
            }
        }
    }

    /// Its source is read no further, and has sent nothing new for long: it is not quiet.
    @Test("a stop beside a client that does not read resets it, also if all stands still")
    func stopWhileFull() async {
        await sideBySide(Setup.receiving) { setup in
            let pattern = Pattern(stream: 7)
            let upstream = try RawListener()
            try withPipes(setup, to: upstream.address) { proxy, _ in
                let (client, far) = try connectThrough(proxy, upstream)
                let bytes = pattern.bytes(32 << 20)
                let sender = Worker { _ = try? far.send(bytes) }
                var before = 0
                try eventually("no more bytes come") {
                    let count = proxy.server.statistics.bytesIn
                    defer { before = count }
                    pause(.milliseconds(100))
                    return count > 1 && count == before
                }
                proxy.server.stop(within: .milliseconds(500))
                let (count, end) = try client.receiveUntilEnd(pattern)
                #expect(count < 32 << 20 && end.isReset, "\(count) bytes and then \(end)")
                try sender.join("sending")
            }
        }
    }

    /// The other half: a reset is forwarded only after a reset.
    @Test(
        "a proxy forwards a clean end as a clean end in both directions",
        arguments: Setup.receiving)
    func aProperEndStaysOneOnBothSides(_ setup: Setup) throws {
        let size = 1_000_000
        let (up, down) = (Pattern(stream: 4), Pattern(stream: 5))
        let upstream = try RawListener()
        try withPipes(setup, to: upstream.address) { proxy, handler in
            for _ in 0..<3 {
                let (client, far) = try connectThrough(proxy, upstream)
                let upload = Worker { try far.receiveUntilEnd(up) }
                try client.send(up.bytes(size))
                client.shutdownWrite()
                #expect(try upload.join("the upload") == (size, .clean))
                let answer = Worker { try client.receiveUntilEnd(down) }
                try far.send(down.bytes(size))
                far.close()
                #expect(try answer.join("the answer") == (size, .clean))
                client.close()
            }
            try proxy.waitUntilEmpty()
            #expect(handler.log.reasons.allSatisfy { $0 == "peer" }, "\(handler.log.reasons)")
        }
    }
}
