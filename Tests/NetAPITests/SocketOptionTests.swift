/// Tests of socket options on live connections: the sensible ones work, the others give a clear
/// error.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct SocketOptionTests {
    private struct Case: Sendable {
        let name: String
        let option: SocketOption
    }

    /// The errors of `set` on a live connection to `address`.
    private func answers(
        _ setup: Setup, _ cases: [Case], listen: Address = anyPort
    ) throws -> [String: NetError] {
        let found = Shared<[String: NetError]>([:])
        let handler = TestHandler(traffic: { connection in
            for one in cases {
                do throws(NetError) {
                    try connection.set(one.option)
                } catch {
                    found.update { $0[one.name] = error }
                }
            }
            return try TestHandler.echo(connection)
        })
        try withServer(setup, handler, listen: [listen]) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("first"))
            #expect(try client.roundTrip("second"))
        }
        return found.value
    }

    @Test("every socket option works on TCP", arguments: Setup.all)
    func everyOptionWorksOnTCP(_ setup: Setup) throws {
        let answers = try answers(
            setup,
            [
                Case(name: "noDelay on", option: .noDelay(true)),
                Case(name: "noDelay off", option: .noDelay(false)),
                Case(
                    name: "keepAlive",
                    option: .keepAlive(idle: .seconds(60), interval: .seconds(5), count: 3)),
                Case(name: "noKeepAlive", option: .noKeepAlive),
                Case(name: "receiveBuffer", option: .receiveBuffer(100_000)),
                Case(name: "sendBuffer", option: .sendBuffer(100_000)),
                Case(name: "quickAck", option: .quickAck(true)),
                Case(name: "userTimeout", option: .userTimeout(.seconds(10))),
                Case(name: "linger reset", option: .linger(.zero)),
                Case(name: "linger off", option: .linger(nil)),
            ])
        #expect(answers.isEmpty, "\(answers)")
    }

    @Test("TCP options are unsupported on Unix sockets", arguments: Setup.all)
    func optionsOfTCPAreUnsupportedOnUnixSockets(_ setup: Setup) throws {
        let answers = try answers(
            setup,
            [
                Case(name: "noDelay", option: .noDelay(true)),
                Case(name: "quickAck", option: .quickAck(true)),
                Case(name: "userTimeout", option: .userTimeout(.seconds(10))),
                Case(
                    name: "keepAlive",
                    option: .keepAlive(idle: .seconds(60), interval: .seconds(5), count: 3)),
                Case(name: "sendBuffer", option: .sendBuffer(100_000)),
            ], listen: .unix(TemporaryPath.make()))
        #expect(Set(answers.keys) == ["noDelay", "quickAck", "userTimeout", "keepAlive"])
        for (name, error) in answers {
            #expect(error.code == .unsupported && !error.cause.isEmpty, "\(name): \(error)")
        }
    }

    /// With a positive linger, close(2) blocks a loop for seconds.
    @Test("a positive linger and invalid values are refused", arguments: Setup.all)
    func aPositiveLingerAndNonsenseAreRefused(_ setup: Setup) throws {
        let answers = try answers(
            setup,
            [
                Case(name: "linger", option: .linger(.seconds(2))),
                Case(name: "negative buffer", option: .receiveBuffer(-1)),
                Case(name: "huge buffer", option: .sendBuffer(.max)),
                Case(
                    name: "keepAlive",
                    option: .keepAlive(idle: .zero, interval: .seconds(5), count: 3)),
            ])
        #expect(Set(answers.keys) == ["linger", "negative buffer", "huge buffer", "keepAlive"])
        #expect(answers.values.allSatisfy { !$0.cause.isEmpty && !$0.remedy.isEmpty })
    }

    /// Level and name as in the kernel's headers, for options that have no case of their own.
    @Test("any option is set and read by its level and name", arguments: Setup.all)
    func anyOption(_ setup: Setup) throws {
        let (found, refused) = (Shared<[CInt]>([]), Shared<[NetError.Code]>([]))
        let handler = TestHandler(traffic: { connection in
            try connection.set(.integer(level: CInt(IPPROTO_IP), name: IP_TOS, 0x10))
            let type = try connection.integerOption(level: SOL_SOCKET, name: SO_TYPE)
            let tos = try connection.integerOption(level: CInt(IPPROTO_IP), name: IP_TOS)
            let algorithm = try connection.option(
                level: CInt(IPPROTO_TCP), name: TCP_CONGESTION, capacity: 16)
            try connection.set(
                .other(
                    level: CInt(IPPROTO_TCP), name: TCP_CONGESTION,
                    value: algorithm.filter { $0 != 0 }))
            found.value = [type, tos]
            for (level, name) in [
                (SOL_SOCKET, 9999), (CInt(IPPROTO_TCP), TCP_INFO), (SOL_SOCKET, SO_LINGER),
            ] {
                do {
                    _ = try connection.integerOption(level: level, name: name)
                } catch let error as NetError {
                    refused.update { $0.append(error.code) }
                }
            }
            do {
                try connection.set(.other(level: SOL_SOCKET, name: SO_KEEPALIVE, value: []))
            } catch let error as NetError {
                refused.update { $0.append(error.code) }
            }
            let info = try connection.option(
                level: CInt(IPPROTO_TCP), name: TCP_INFO, capacity: .max)
            #expect(info.count > 100)
            return try TestHandler.echo(connection)
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
        let type = CInt(SOCK_STREAM.rawValue)
        #expect(found.value == [type, 0x10])
        let expected: [NetError.Code] = [
            .unsupported, .invalidOption, .invalidOption, .invalidOption,
        ]
        #expect(refused.value == expected)
    }

    @Test("a connection with zero linger closes with a reset", arguments: Setup.all)
    func lingerZeroMakesACloseAReset(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            try connection.set(.linger(.zero))
            connection.abort()
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveEnd().isReset)
        }
    }

    @Test(
        "a server with its own TCP options for noDelay, keepAlive and backlog serves",
        arguments: Setup.all)
    func optionsOfTheServerServe(_ setup: Setup) throws {
        let options = setup.options { options in
            options.tcp.noDelay = false
            options.tcp.keepAlive = .seconds(30)
            options.tcp.backlog = 16
        }
        try withServer(setup, options: options) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
    }
}
