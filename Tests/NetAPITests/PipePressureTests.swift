/// Tests of back-pressure through a proxy: a full direction neither stops the other nor loses bytes
/// in transit.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct PipePressureTests {
    /// The client reads only after its upload, and the upstream answers all the time. The answer
    /// fills every buffer on its way, and the upload must still complete.
    @Test(
        "an upload completes while the answer waits for the client",
        arguments: Setup.receiving, [2 << 20, 8 << 20])
    func anUploadGoesOnWhileTheAnswerWaits(_ setup: Setup, answer: Int) throws {
        let size = 32 << 20
        let (up, down) = (Pattern(stream: 17), Pattern(stream: 18))
        let upstream = try RawListener()
        try withPipes(setup, to: upstream.address) { proxy, _ in
            let (client, far) = try connectThrough(proxy, upstream)
            let answering = Worker { try far.send(down.bytes(answer)) }
            let reading = Worker { try far.receiveUntilEnd(up) }
            try client.send(up.bytes(size))
            client.shutdownWrite()
            try client.receive(down, exactly: answer)
            #expect(try reading.join("the upload") == (size, .clean))
            try answering.join("the answer")
            far.shutdownWrite()
            #expect(try client.receiveEnd() == .clean)
            client.close()
            try proxy.waitUntilEmpty()
        }
    }

    /// One receive brings up to 256 KiB.
    @Test("a pipe does not exceed the limit on output, although that has room for one receive only")
    func aSmallLimit() async {
        await sideBySide(Setup.receiving) { setup in
            let size = 16 << 20
            let pattern = Pattern(stream: 20)
            let upstream = try RawListener()
            let options = setup.options { $0.limits.outboundBytes = 256 << 10 }
            try withPipes(setup, to: upstream.address, options: options) { proxy, _ in
                let (client, far) = try connectThrough(proxy, upstream)
                let sending = Worker { try far.send(pattern.bytes(size)) }
                // Until the target is full.
                pause(.milliseconds(100))
                try client.receive(pattern, exactly: size)
                try sending.join("sending")
                far.close()
                #expect(try client.receiveEnd() == .clean)
                client.close()
                try proxy.waitUntilEmpty()
            }
        }
    }

    /// A proxy with back-pressure by hand: it pauses one side while the other has enough, and
    /// resumes it when the other has caught up.
    private func byHand(to target: Address) -> TestHandler {
        let other = PerConnection<Connection?>(nil)
        var handler = TestHandler()
        handler.open = { connection in
            guard connection.isAccepted else { return .none }
            connection.connect(to: target) { front, back in
                front[other] = back
                back[other] = front
            }
            return .none
        }
        handler.traffic = { connection in
            guard let target = connection[other] else { return .none }
            target.write(connection.next())
            if !target.isWritable { connection.pauseReading() }
            return .none
        }
        handler.writable = { connection in
            connection[other]?.resumeReading()
            return .none
        }
        handler.close = { connection, _ in
            connection[other]?.close()
            return .none
        }
        return handler
    }

    @Test(
        "an answer that the handler forwards arrives complete after the upstream resets",
        arguments: [false, true])
    func anAnswerPassedOnByHandSurvivesItsReset(behindAnUpload: Bool) async {
        await sideBySide(Setup.receiving) { setup in
            let size = 6 << 20
            let pattern = Pattern(stream: 19)
            let upstream = try RawListener()
            try withServer(setup, byHand(to: upstream.address)) { proxy in
                let (client, far) = try connectThrough(proxy, upstream)
                if behindAnUpload { try client.fill(Pattern(stream: 9)) }
                let taken = try answer(pattern, size, from: far, to: client)
                far.reset()
                // The test cannot observe that the proxy has seen the reset.
                pause(.milliseconds(50))
                try client.receive(pattern, exactly: size - taken, from: taken)
                client.close()
                try proxy.waitUntilEmpty()
            }
        }
    }
}
