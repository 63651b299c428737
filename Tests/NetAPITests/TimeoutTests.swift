/// Tests of time-outs: idle peers, and peers that do not read their output, are closed in time.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct TimeoutTests {
    @Test("the idle timeout closes an idle connection and not a busy one", arguments: Setup.all)
    func anIdleConnectionIsClosedAndABusyOneIsNot(_ setup: Setup) throws {
        let options = setup.options { $0.timeouts.idle = .milliseconds(300) }
        try keepingPace(of: .milliseconds(150)) { pace in
            let handler = TestHandler()
            try withServer(setup, handler, options: options) { server in
                let begin = ContinuousClock.now
                let idle = try server.connect()
                let busy = try server.connect()
                let reader = Worker { try idle.receiveEnd() }
                while !reader.isDone {
                    try must(try busy.roundTrip("still here"), "other bytes came back")
                    pace.mark()
                    pause(.milliseconds(20))
                }
                let time = begin.duration(to: .now)
                #expect(try reader.join("the end") == .clean)
                #expect(time >= .milliseconds(280), "\(time)")
                try must(time < .seconds(3), "closed after \(time)")
                idle.close()
                try handler.log.waitFor(.close)
                try must(handler.log.reasons == ["timeout"], "\(handler.log.reasons)")
                try must(try busy.roundTrip("and later"), "other bytes came back")
            }
        }
    }

    @Test("the idle timeout counts from the last byte")
    func anIdleTimeoutCountsFromTheLastByte() async {
        await sideBySide(Setup.all) { setup in
            let options = setup.options { $0.timeouts.idle = .milliseconds(1000) }
            try keepingPace(of: .milliseconds(500)) { pace in
                try withServer(setup, TestHandler(), options: options) { server in
                    let client = try server.connect()
                    var last = ContinuousClock.now
                    for _ in 0..<10 {
                        pause(.milliseconds(150))
                        last = .now
                        try must(try client.roundTrip("drop"), "other bytes came back")
                        pace.mark()
                    }
                    #expect(try client.receiveEnd() == .clean)
                    let time = last.duration(to: .now)
                    #expect(time >= .milliseconds(950), "\(time)")
                }
            }
        }
    }

    /// A connection that is not read cannot time out as silent, and must not count as busy because
    /// of that.
    @Test("the idle timeout also closes a connection whose reading is paused", arguments: Setup.all)
    func anIdleConnectionThatIsNotReadIsClosedToo(_ setup: Setup) throws {
        let options = setup.options {
            $0.timeouts.read = .milliseconds(100)
            $0.timeouts.idle = .milliseconds(400)
        }
        let handler = TestHandler(open: { connection in
            connection.pauseReading()
            return .none
        })
        try withServer(setup, handler, options: options) { server in
            let begin = ContinuousClock.now
            let client = try server.connect()
            try handler.log.waitFor(.close)
            let time = begin.duration(to: .now)
            #expect(time >= .milliseconds(380), "\(time)")
            #expect(handler.log.reasons == ["timeout"])
            client.close()
        }
    }

    @Test("bytes that the server sends do not postpone a read timeout", arguments: Setup.all)
    func aReadTimeoutIsNotPutOffByWhatIsSent(_ setup: Setup) throws {
        let options = setup.options { $0.timeouts.read = .milliseconds(300) }
        try promptly("the read timeout", within: .seconds(3)) {
            var handler = TestHandler()
            handler.open = { connection in
                connection.loop.schedule(every: .milliseconds(50)) { connection.write(".") }
                return .none
            }
            return try withServer(setup, handler, options: options) { server in
                let begin = ContinuousClock.now
                let client = try server.connect()
                let end = try client.receiveUntilEnd().end
                #expect(end == .clean)
                let time = begin.duration(to: .now)
                #expect(time >= .milliseconds(280), "\(time)")
                client.close()
                try handler.log.waitFor(.close)
                #expect(handler.log.reasons == ["timeout"])
                return time
            }
        }
    }

    @Test("a write timeout closes a connection without progress and not a slow one")
    func aWriteTimeoutNeedsProgressNotSpeed() async {
        await sideBySide(Setup.all) { setup in
            let options = setup.options {
                $0.timeouts.write = .milliseconds(1000)
                $0.timeouts.close = .milliseconds(1000)
            }
            let size = 6 << 20
            try keepingPace(of: .milliseconds(500)) { pace in
                let handler = TestHandler(traffic: { connection in
                    connection.discardAll()
                    connection.write(Pattern(stream: 9).bytes(size))
                    return .none
                })
                try withServer(setup, handler, options: options) { server in
                    let slow = try server.connect(receiveBuffer: 65_536)
                    let stuck = try server.connect(receiveBuffer: 4096)
                    try slow.send("x")
                    try stuck.send("x")
                    var got = 0
                    while got < size {
                        let part = min(400_000, size - got)
                        try slow.receive(Pattern(stream: 9), exactly: part, from: got)
                        got += part
                        pace.mark()
                        pause(.milliseconds(100))
                    }
                    try handler.log.waitFor(.close)
                    pace.rest()
                    try must(handler.log.reasons == ["timeout"], "\(handler.log.reasons)")
                    try must(slow.staysSilent(for: .milliseconds(50)), "the slow one is closed")
                }
            }
        }
    }

    /// Although the peer reads all the time, the kernel accepts nothing from the server for long: a
    /// third of several megabytes must be sent first.
    @Test(
        "no timeout closes a connection whose peer reads a little all the time",
        arguments: Setup.all)
    func aPeerThatTakesLittleAllTheTimeIsWaitedFor(_ setup: Setup) throws {
        let limit = Duration.milliseconds(400)
        let pattern = Pattern(stream: 9)
        let size = 9 << 20
        func handler() -> TestHandler {
            TestHandler(traffic: { connection in
                let closes = connection.next().equals("close")
                connection.write(pattern.bytes(size))
                return closes ? .close : .none
            })
        }
        // Each timeout alone, since one could hide that another did not wait.
        func options(_ change: (inout Options.Timeouts) -> Void) -> Options {
            setup.options { change(&$0.timeouts) }
        }
        func read(_ servers: [TestServer], _ pace: Pace) throws {
            let clients = try servers.map { try $0.connect(receiveBuffer: 32_768) }
            for (client, text) in zip(clients, ["x", "x", "close"]) { try client.send(text) }
            // More than the kernels hold.
            for part in 0..<15 {
                for client in clients {
                    try client.receive(pattern, exactly: 40_000, from: part * 40_000)
                }
                pace.mark()
                pause(.milliseconds(100))
            }
            for (server, client) in zip(servers, clients) {
                try must(server.server.statistics.timeouts == 0, "a timeout")
                let start = 15 * 40_000
                try client.receive(pattern, exactly: size - start, from: start)
                client.close()
            }
        }
        try keepingPace(of: limit / 2) { pace in
            try withServer(setup, handler(), options: options { $0.idle = limit }) { idle in
                try withServer(setup, handler(), options: options { $0.write = limit }) { write in
                    try withServer(setup, handler(), options: options { $0.close = limit }) {
                        try read([idle, write, $0], pace)
                    }
                }
            }
        }
    }

    @Test(
        "a close does not wait beyond its timeout for a peer that reads nothing",
        arguments: Setup.all)
    func aCloseDoesNotWaitForAPeerThatTakesNothing(_ setup: Setup) throws {
        let options = setup.options { $0.timeouts.close = .milliseconds(300) }
        try promptly("the close timeout", within: .seconds(5)) {
            let handler = TestHandler(traffic: { connection in
                connection.discardAll()
                connection.write([UInt8](repeating: 1, count: 32 << 20))
                return .close
            })
            let time = try withServer(setup, handler, options: options) { server in
                let client = try server.connect(receiveBuffer: 4096)
                try client.send("x")
                try handler.log.waitFor(.traffic)
                let time = try elapsed { try server.waitUntilEmpty() }
                let (bytes, end) = try client.receiveUntilEnd()
                #expect(bytes.count < 32 << 20)
                #expect(end.isReset, "a cut reply must not look complete")
                return time
            }
            #expect(handler.log.reasons == ["timeout"])
            return time
        }
    }

    @Test("a close sends its remaining bytes as long as the peer reads some of them")
    func aCloseGoesOnAsLongAsThePeerTakesSomething() async {
        await sideBySide(Setup.all) { setup in
            let options = setup.options { $0.timeouts.close = .milliseconds(1000) }
            let pattern = Pattern(stream: 5)
            let size = 8 << 20
            try keepingPace(of: .milliseconds(500)) { pace in
                let handler = TestHandler(traffic: { connection in
                    connection.discardAll()
                    connection.write(pattern.bytes(size))
                    return .close
                })
                try withServer(setup, handler, options: options) { server in
                    let client = try server.connect(receiveBuffer: 65_536)
                    try client.send("x")
                    var position = 0
                    let time = try elapsed {
                        while position < size {
                            let piece = min(size / 16, size - position)
                            try client.receive(pattern, exactly: piece, from: position)
                            position += piece
                            pace.mark()
                            pause(.milliseconds(100))
                        }
                    }
                    #expect(time > .milliseconds(1500))
                    let end = try client.receiveEnd()
                    try must(end == .clean, "\(end)")
                }
                try must(handler.log.reasons == ["local"], "\(handler.log.reasons)")
            }
        }
    }
}
