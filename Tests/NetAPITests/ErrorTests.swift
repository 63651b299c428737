/// Tests of early errors: invalid settings fail before any callback, with the cause and a remedy.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ErrorTests {
    static let badAddresses = [
        "tulip://howdy", "howdy", "tcp://", "tcp://localhost:8080/foo", "unix://", ":foo",
        "tcp://127.0.0.1:99999", "tcp://127.0.0.1:9000\n", "tcp://127.0.0.1\n:9000",
        "tcp://127.0.0.1", "tcp://127.0.0.1:", "tcp://127.0.0.1:-1", "tcp://127.0.0.1: 80",
        "tcp://[::1:80", "tcp://::1:80", "tcp4://[::1]:80", "tcp6://127.0.0.1:80", "",
        "tcp://256.0.0.1:80", "unix:///tmp/a\nb", "TCP//127.0.0.1:80",
    ]

    @Test(
        "a wrong address throws invalidAddress, with one line of text and an example",
        arguments: badAddresses)
    func aWrongAddressIsRefusedWithItsText(_ text: String) throws {
        let parsing = #expect(throws: NetError.self) { try Address(parsing: text) }
        #expect(parsing?.code == .invalidAddress)
        let handler = TestHandler()
        let literal = #expect(throws: NetError.self) {
            try Server(handler, listen: Address(stringLiteral: text))
        }
        #expect(literal?.code == .invalidAddress)
        let description = try #require(literal).description
        #expect(!description.contains("\n"), "one line: \(description.debugDescription)")
        #expect(description.contains("tcp://127.0.0.1:9000"), "no example: \(description)")
        #expect(handler.log.callbacks.isEmpty)
    }

    @Test("one wrong address among valid ones prevents every bind")
    func oneWrongAddressAmongGoodOnesBindsNothing() throws {
        let path = TemporaryPath.make()
        let error = #expect(throws: NetError.self) {
            try Server(TestHandler(), listen: .unix(path), "howdy", anyPort)
        }
        #expect(error?.code == .invalidAddress)
        #expect(error?.description.contains("howdy") == true)
        #expect(!TemporaryPath.exists(path))
    }

    @Test("an address in use is named in the error", arguments: Setup.all)
    func anAddressInUseIsNamed(_ setup: Setup) throws {
        try withServer(setup) { server in
            let address = server.addresses[0]
            let path = TemporaryPath.make()
            let handler = TestHandler()
            let second = try Server(
                handler, listen: .unix(path), address, options: setup.options())
            let error = try second.startError()
            #expect(error?.code == .addressInUse)
            #expect(error?.description.contains("\(address)") == true)
            #expect(error?.description.contains("EADDRINUSE") == true)
            #expect(error?.errno == 98)
            #expect(handler.log.callbacks.isEmpty)
            #expect(!TemporaryPath.exists(path), "the other address stayed bound")
            let client = try server.connect()
            #expect(try client.roundTrip("still ours"))
        }
    }

    @Test("two servers may share a port with reusePort", arguments: Setup.all)
    func twoServersMayShareAPortWithReusePort(_ setup: Setup) throws {
        let options = setup.options { $0.reusePort = true }
        try withServer(setup, options: options) { first in
            try withServer(setup, listen: first.addresses, options: options) { second in
                #expect(first.addresses == second.addresses)
                for _ in 0..<20 {
                    let client = try second.connect()
                    #expect(try client.roundTrip("x"))
                }
            }
            let client = try first.connect()
            #expect(try client.roundTrip("x"))
        }
    }

    @Test("an address that no interface has is named in the error", arguments: Setup.single)
    func anAddressOfNoInterfaceIsNamed(_ setup: Setup) throws {
        let server = try Server(
            TestHandler(), listen: "tcp://192.0.2.1:9000", options: setup.options())
        let error = try server.startError()
        #expect(error?.description.contains("tcp://192.0.2.1:9000") == true)
        #expect(error?.errno == 99)
    }

    @Test(
        "a wrong number of loops throws invalidOption",
        arguments: [-1, 5000, 1025, Int.max, Int.min])
    func aWrongNumberOfLoopsIsRefused(_ count: Int) throws {
        let handler = TestHandler()
        let error = #expect(throws: NetError.self) {
            try Server(handler, listen: anyPort, options: Options(loops: .count(count)))
        }
        #expect(error?.code == .invalidOption)
        #expect(error?.description.contains("\(count)") == true)
        #expect(error?.description.contains("1024") == true)
        #expect(handler.log.callbacks.isEmpty)
    }

    @Test("an empty list of addresses throws invalidOption")
    func anEmptyListOfAddressesIsRefused() throws {
        let error = #expect(throws: NetError.self) { try Server(TestHandler(), listen: []) }
        #expect(error?.code == .invalidOption)
    }

    @Test("a handler without stream callbacks is rejected for a stream address")
    func aHandlerOfNoStreamsIsRefused() throws {
        struct Idle: LoopHandler {}
        let error = #expect(throws: NetError.self) { try Server(Idle(), listen: anyPort) }
        #expect(error?.description.contains("EventHandler") == true)
        #expect(error?.description.contains("Idle") == true)
    }

    @Test("every error is one line with a cause and a remedy")
    func everyErrorIsOneLineWithACauseAndARemedy() throws {
        let errors = [
            #expect(throws: NetError.self) { try Address(parsing: "howdy") },
            #expect(throws: NetError.self) {
                try Server(TestHandler(), listen: anyPort, options: Options(loops: -1))
            },
        ]
        for error in errors {
            let error = try #require(error)
            #expect(!error.cause.isEmpty && !error.remedy.isEmpty)
            #expect(error.description.contains(error.cause))
            #expect(error.description.contains(error.remedy))
            #expect(!error.description.contains("\n"))
        }
    }

    @Test("options are values, and a changed copy keeps all other fields")
    func optionsAreValuesThatChangeOneByOne() {
        let base = Options(backend: .epoll, loops: 3, reusePort: true)
        let changed = base.with { $0.limits.connections = 7 }
        #expect(changed.limits.connections == 7 && base.limits.connections == .max)
        #expect(changed.reusePort && changed.backend == .epoll)
        #expect(Options().tcp.noDelay && !Options().allowHalfClosure)
        #expect(Options().limits.inboundBytes == 1 << 20)
        #expect(Options().timeouts.close == .seconds(10))
    }
}
