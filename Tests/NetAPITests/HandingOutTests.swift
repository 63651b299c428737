/// Tests of listening sockets that go to the next server while this one stops, unnoticed by
/// clients.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct HandingOutTests {
    static let kinds: [EchoKind] = [.tcp, .unix]

    @Test(
        "no client is refused while the next server replaces the first",
        arguments: Setup.all, kinds)
    func nobodyIsRefusedWhileTheNextServerTakesOver(_ setup: Setup, _ kind: EchoKind) throws {
        let (fate, isOver) = (Shared(SharedPortTests.Fates()), Shared(false))
        let first = try Server(TestHandler(), listen: kind.address, options: setup.options())
        try bounded("start") { try first.start() }
        let address = first.boundAddresses[0]
        let workers = (0..<4).map { _ in
            Worker { while !isOver.value { try SharedPortTests.connectOnce(to: address, fate) } }
        }
        let copies = try first.duplicateListeners(of: address)
        #expect(copies.count == 1)
        for copy in copies { #expect(fcntl(copy, F_GETFD) & FD_CLOEXEC != 0) }
        let second = try Server(
            TestHandler(), listen: copies.map { .inherited($0) }, options: setup.options())
        try serve(second) { second in
            #expect(second.addresses == [address])
            // The kernel decides which of two waiting loops it wakes.
            let started = first.statistics.accepted + second.server.statistics.accepted
            try eventually("they serve") {
                first.statistics.accepted + second.server.statistics.accepted > started + 100
            }
            try bounded("stop") { first.stop(within: .seconds(5)) }
            let before = second.server.statistics.accepted
            try eventually("the next one goes on") {
                second.server.statistics.accepted > before + 100
            }
            isOver.value = true
            for worker in workers { try worker.join("a connecting thread") }
        }
        #expect(fate.value.reset == 0, "refused or reset: \(fate.value)")
        #expect(
            fate.value.served + fate.value.ended
                == first.statistics.accepted + second.statistics.accepted)
    }

    /// The socket is open as long as the copy is: a client that connects while no server runs
    /// waits.
    @Test(
        "a duplicated listener keeps the port and the waiting clients",
        arguments: Setup.all, kinds)
    func aCopyKeepsThePortAndWhoWaits(_ setup: Setup, _ kind: EchoKind) throws {
        let first = try Server(TestHandler(), listen: kind.address, options: setup.options())
        try bounded("start") { try first.start() }
        let address = first.boundAddresses[0]
        let copies = try first.duplicateListeners(of: address)
        try bounded("stop") { first.stop() }
        let early = try TestClient(to: address)
        try early.send("hello")
        let error = #expect(throws: NetError.self) { try first.duplicateListeners(of: address) }
        #expect(error?.code == .closed)
        try withServer(setup, listen: copies.map { .inherited($0) }) { _ in
            let answer = try early.receiveText(exactly: 5)
            #expect(answer == "hello")
            early.close()
        }
        // Both servers left the path; the next bind replaces a dead socket.
        try withServer(setup, listen: [address]) { server in
            let client = try server.connect()
            let isSame = try client.roundTrip("x")
            #expect(isSame)
        }
    }

    /// The loop is blocked, so that all clients are in the backlog when the stop is requested. The
    /// next server may have failed to start, and then no other server accepts them.
    @Test(
        "clients that wait at a stop are served, also if no other server has the listener",
        arguments: Setup.single, kinds)
    func whoWaitsWhenItStopsIsServed(_ setup: Setup, _ kind: EchoKind) throws {
        let gate = Gate()
        defer { gate.open() }
        let handler = TestHandler(traffic: gate.blocking())
        let first = try Server(handler, listen: kind.address, options: setup.options())
        try bounded("start") { try first.start() }
        let address = first.boundAddresses[0]
        for copy in try first.duplicateListeners(of: address) { close(copy) }
        let blocker = try TestClient(to: address)
        try blocker.send("block")
        try eventually("the loop is held up") { gate.isReached }
        let clients = try (0..<50).map { _ in try TestClient(to: address) }
        for client in clients { try client.send("hello") }
        first.requestStop()
        gate.open()
        blocker.close()
        try bounded("stop") { first.stop() }
        handler.log.checkLives()
        for client in clients {
            let answer = try client.receiveText(exactly: 5)
            #expect(answer == "hello")
            client.close()
        }
        #expect(first.statistics.accepted == clients.count + 1)
    }

    @Test(
        "a Unix path remains after the stop only if its listener was duplicated",
        arguments: Setup.all)
    func aPathStaysWhereItWasHandedOutAndOnlyThere(_ setup: Setup) throws {
        let (kept, removed) = (TemporaryPath.make(), TemporaryPath.make())
        try withServer(setup, listen: [.unix(kept), .unix(removed)]) { server in
            for copy in try server.server.duplicateListeners(of: .unix(kept)) { close(copy) }
        }
        #expect(TemporaryPath.exists(kept) && !TemporaryPath.exists(removed))
        unlink(kept)
    }

    @Test(
        "with reusePort, duplicateListeners returns one descriptor for each loop",
        arguments: Setup.several)
    func withReusePortThereIsOneForEachLoop(_ setup: Setup) throws {
        let options = setup.options { $0.reusePort = true }
        try withServer(setup, options: options) { server in
            let copies = try server.server.duplicateListeners(of: anyPort)
            #expect(copies.count == setup.loops)
            try withServer(setup, listen: copies.map { .inherited($0) }) { second in
                #expect(second.addresses == copies.map { _ in server.addresses[0] })
                for _ in 0..<20 {
                    let isSame = try server.connect().roundTrip("x")
                    #expect(isSame)
                }
            }
        }
    }

    /// The third server has every socket of the first, each with its clients.
    @Test("sockets that were handed out are handed out again together", arguments: Setup.several)
    func handsOutAllThatWereInherited(_ setup: Setup) throws {
        let options = setup.options { $0.reusePort = true }
        let first = try Server(TestHandler(), listen: "tcp://127.0.0.1:0", options: options)
        try bounded("start") { try first.start() }
        let address = first.boundAddresses[0]
        let copies = try first.duplicateListeners(of: address)
        let second = try Server(
            TestHandler(), listen: copies.map { .inherited($0) }, options: options)
        try bounded("start") { try second.start() }
        try bounded("stop") { first.stop() }
        let one = try second.duplicateListeners(of: .inherited(copies[0]))
        #expect(one.count == 1)
        for copy in one { close(copy) }
        let again = try second.duplicateListeners(of: address)
        #expect(again.count == setup.loops)
        try bounded("stop") { second.stop() }
        // The kernel distributes them over the sockets, so some would find none that listens.
        let clients = Worker { () -> Bool in
            for _ in 0..<30 {
                let isSame = try TestClient(to: address).roundTrip("x")
                guard isSame else { return false }
            }
            return true
        }
        try withServer(setup, listen: again.map { .inherited($0) }, options: options) { third in
            #expect(third.addresses.count == setup.loops)
            let areServed = try clients.join("the clients")
            #expect(areServed)
        }
    }

    /// In a process of its own, which may open only one more file.
    @Test("duplicateListeners leaves no copy open if it runs out of descriptors")
    func handsOutAllOrNone() async {
        await #expect(processExitsWith: .success) {
            for setup in Setup.several { try HandingOutTests.runOutOfDescriptors(setup) }
        }
    }

    private static func runOutOfDescriptors(_ setup: Setup) throws {
        let options = setup.options { $0.reusePort = true }
        try withServer(setup, listen: ["tcp://127.0.0.1:0"], options: options) { first in
            let address = first.addresses[0]
            let list = try first.server.duplicateListeners(of: address)
            try withServer(setup, listen: list.map { .inherited($0) }) { second in
                let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
                var limit = rlimit()
                #expect(getrlimit(resource, &limit) == 0)
                let usual = limit.rlim_cur
                let free = dup(0)
                close(free)
                limit.rlim_cur = rlim_t(free) + 1
                #expect(setrlimit(resource, &limit) == 0)
                let error = #expect(throws: NetError.self) {
                    try second.server.duplicateListeners(of: address)
                }
                #expect(error?.code == .system && error?.errno == EMFILE)
                #expect(fcntl(free, F_GETFD) < 0)
                limit.rlim_cur = usual
                #expect(setrlimit(resource, &limit) == 0)
            }
        }
    }

    @Test(
        "duplicateListeners throws an error with cause and remedy if it cannot duplicate",
        arguments: Setup.single)
    func whatCannotBeHandedOutIsRefusedInWords(_ setup: Setup) throws {
        let booted = Shared(0)
        var handler = DatagramTestHandler()
        handler.boot = { loop in
            let copies = try loop.server.duplicateListeners(of: anyPort)
            booted.value = copies.count
            for copy in copies { close(copy) }
        }
        let server = try Server(
            handler, listen: anyPort, "udp://127.0.0.1:0", options: setup.options())
        func code(_ address: Address) -> NetError.Code? {
            let error = #expect(throws: NetError.self) {
                try server.duplicateListeners(of: address)
            }
            #expect(error?.remedy.isEmpty == false)
            #expect(error?.cause.contains(address.description) == true)
            return error?.code
        }
        #expect(code(anyPort) == .unsupported)
        try serve(server) { _ in
            #expect(booted.value == 1)
            #expect(code("tcp://127.0.0.1:1") == .invalidAddress)
            #expect(code("udp://127.0.0.1:0") == .unsupported)
        }
        #expect(code(anyPort) == .closed)
    }
}
