/// Sockets that were made elsewhere: listeners handed in, streams connected by somebody else.
import Glibc
import NetAPI
import Testing

@Suite struct AdoptingTests {
    private func listener() throws -> CInt {
        let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let target = try ClientAddress("tcp://127.0.0.1:0")
        guard number >= 0, target.withKernelForm({ bind(number, $0, $1) }) == 0,
            listen(number, 128) == 0
        else { throw SystemFailure("listen") }
        return number
    }

    @Test(arguments: Setup.all)
    func anInheritedListenerServes(_ setup: Setup) throws {
        try withServer(setup, listen: [.inherited(try listener())]) { server in
            #expect(server.addresses[0].description.hasPrefix("tcp://127.0.0.1:"))
            for number in 0..<10 {
                let client = try server.connect()
                #expect(try client.roundTrip("hello \(number)"))
            }
        }
    }

    @Test(arguments: Setup.single)
    func whatIsNoListenerIsRefusedInWords(_ setup: Setup) throws {
        let plain = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(plain) }
        for number in [plain, 9999] {
            let server = try Server(
                TestHandler(), listen: .inherited(number), options: setup.options())
            let error = #expect(throws: NetError.self) { try server.start() }
            #expect(error?.code == .invalidAddress)
            #expect(error?.description.contains("fd://\(number)") == true)
        }
        #expect(throws: NetError.self) { try Address(parsing: "fd://x") }
    }

    @Test func nothingIsInheritedWithoutTheEnvironment() {
        #expect(Address.inheritedListeners == [])
    }

    @Test(arguments: Setup.all)
    func aConnectedStreamIsTakenOver(_ setup: Setup) throws {
        let client = try Client(TestHandler(), options: setup.options())
        try client.start()
        var ends: [CInt] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        client.adopt(ends[0])
        #expect(write(ends[1], "hello", 5) == 5)
        var buffer = [UInt8](repeating: 0, count: 16)
        #expect(read(ends[1], &buffer, 16) == 5)
        close(ends[1])
        try eventually("it closed") { client.connectionCount == 0 }
        let failures = Shared<[String]>([])
        client.adopt(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)) { error in
            failures.update { $0.append("\(error.code)") }
        }
        try eventually("it is refused") { failures.value == ["unsupported"] }
        try bounded("stop") { client.stop() }
    }

    @Test(arguments: Setup.all)
    func whatAnAdoptedStreamWritesFirstGoesOut(_ setup: Setup) throws {
        let handler = TestHandler(open: { connection in
            connection.write("hello")
            return .none
        })
        let client = try Client(handler, options: setup.options())
        try client.start()
        var ends: [CInt] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        client.adopt(ends[0])
        let (descriptor, greeting) = (ends[1], Shared(0))
        let reader = Worker {
            var buffer = [UInt8](repeating: 0, count: 16)
            greeting.value = read(descriptor, &buffer, 16)
        }
        try reader.join("the greeting")
        #expect(greeting.value == 5)
        close(ends[1])
        try eventually("it closed") { client.connectionCount == 0 }
        try bounded("stop") { client.stop() }
    }

    @Test(arguments: Setup.single)
    func deferredAcceptsServeWhoSpeaksFirst(_ setup: Setup) throws {
        let options = setup.options { $0.tcp.deferAccept = .seconds(5) }
        let handler = TestHandler()
        try withServer(setup, handler, options: options) { server in
            let silent = try server.connect()
            #expect(try server.connect().roundTrip("first"))
            #expect(handler.log.count(.open) == 1)
            #expect(try silent.roundTrip("later"))
        }
    }

    @Test(arguments: Setup.several)
    func eachLoopCountsForItself(_ setup: Setup) throws {
        try withServer(setup) { server in
            let clients = try (0..<4).map { _ in try server.connect() }
            for client in clients { #expect(try client.roundTrip("x")) }
            let each = server.server.loopStatistics
            #expect(each.map(\.open).reduce(0, +) == 4)
            #expect(each.prefix(2).allSatisfy { $0.open == 2 })
            #expect(each.allSatisfy { $0.kernelEntries > 0 })
        }
    }
}
